-- A delivery that is asked for again begins its schedule anew: of its attempts, those made before.
ALTER TABLE deliveries ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
