-- What was sold on each day, written at night.

-- CreateTable
CREATE TABLE "DailyReport" (
    "day" DATE NOT NULL,
    "orders" INTEGER NOT NULL,
    "revenueCents" INTEGER NOT NULL,

    CONSTRAINT "DailyReport_pkey" PRIMARY KEY ("day")
);

-- CreateIndex
CREATE INDEX "Order_createdAt_idx" ON "Order"("createdAt");
