//! Runnable examples; see the `examples` folder beside this file.
