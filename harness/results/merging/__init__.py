"""The parts of `bench merge`: reading a stranger's database, taking runs over, undoing it.

What comes from the other side goes one way: `source` opens a private copy of the file, `clean` checks every row and
writes what is sound into a results database of our own, `label_maps` copies checked files, `takeover` decides and
writes in one transaction, `undo` takes it back.
"""
