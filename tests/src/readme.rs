//! The programs of the README, which have to compile.
