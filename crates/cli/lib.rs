//! The command line of Medley.
