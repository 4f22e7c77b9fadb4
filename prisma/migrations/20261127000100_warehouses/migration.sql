-- Where each product is kept: what came by ship at the port, what is made in the country in the middle of it.

-- AlterTable
ALTER TABLE "Product" ADD COLUMN "warehouse" TEXT NOT NULL DEFAULT 'hamburg';

-- Seed
UPDATE "Product" SET "warehouse" = 'kassel' WHERE "sku" IN ('cup', 'kettle');

-- AlterTable
ALTER TABLE "Product" ALTER COLUMN "warehouse" DROP DEFAULT;
