//! Fields that are lists, and fields that must not be.

use proxy_core::Headers;

/// The value of a field that is there once, where it is text.
pub(crate) fn single<'a>(headers: &'a Headers, name: &'static str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next().filter(|_| values.next().is_none())?;
    std::str::from_utf8(value).ok()
}

/// The members of a list without quoted strings, of all fields of this name.
pub(crate) fn members<'a>(headers: &'a Headers, name: &'static str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).filter_map(|value| std::str::from_utf8(value).ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty())
}
