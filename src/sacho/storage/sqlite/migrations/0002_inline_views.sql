-- The views that are written within each append, by name, in order, one a line; see sacho/storage/inline_views.py. Every
-- append compares this with what its process writes.
ALTER TABLE log ADD COLUMN inline TEXT NOT NULL DEFAULT '';
