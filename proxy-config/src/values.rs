//! Values that JSON writes as strings: durations, sizes, rates, addresses, names.

pub(crate) mod address;
pub(crate) mod cidr;
pub(crate) mod count;
pub(crate) mod duration;
pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod rate;
pub(crate) mod size;

pub use address::Address;
pub use cidr::Cidr;
pub use rate::Rate;

/// Splits `"250ms"` into its number and unit. Digits only: no sign, no fraction, no space.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}
