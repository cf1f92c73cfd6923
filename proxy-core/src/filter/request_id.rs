//! STUB by the lead so that the crate compiles: replace the whole file.
#[derive(Debug)] pub struct RequestId; #[derive(Debug)] pub struct RequestIdValue;