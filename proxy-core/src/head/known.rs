//! The fields the engine itself acts on, recognised once while a head is indexed.

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        /// A field the engine acts on, or `Other`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Known { Other, $($name,)* }

        impl Known {
            /// Recognises a name, whatever its case.
            pub(crate) fn of(name: &[u8]) -> Known {
                match name.len() {
                    $(len if len == $text.len() && name.eq_ignore_ascii_case($text.as_bytes()) => Known::$name,)*
                    _ => Known::Other,
                }
            }
        }
    };
}

known! {
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Expect = "expect",
    Upgrade = "upgrade",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XRealIp = "x-real-ip",
    Forwarded = "forwarded",
    Via = "via",
    Date = "date",
}

/// Which known fields a head has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownSet(u32);

impl KnownSet {
    pub(crate) const fn of(members: &[Known]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < members.len() {
            bits |= 1 << members[i] as u32;
            i += 1;
        }
        KnownSet(bits)
    }

    pub(crate) fn insert(&mut self, known: Known) {
        self.0 |= 1 << known as u32;
    }

    pub(crate) fn contains(self, known: Known) -> bool {
        self.0 & (1 << known as u32) != 0
    }

    pub(crate) fn intersects(self, other: KnownSet) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_names_whatever_their_case() {
        assert_eq!(Known::of(b"HOST"), Known::Host);
        assert_eq!(Known::of(b"Content-Length"), Known::ContentLength);
        assert_eq!(Known::of(b"x-real-iq"), Known::Other);
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn sets_intersect_by_member() {
        let mut set = KnownSet::default();
        set.insert(Known::Te);
        assert!(set.intersects(KnownSet::of(&[Known::Host, Known::Te])));
        assert!(!set.intersects(KnownSet::of(&[Known::Host])));
    }
}
