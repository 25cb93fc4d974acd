//! Run directories, records, statistics and tables.
