-- Stock is taken in transactions that are one commit with the checkpoints of their steps: nobody need remember which were
-- made.

-- DropTable
DROP TABLE "StockReservation";
