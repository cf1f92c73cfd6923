//! The fields the engine itself acts on, recognised once while a head is indexed.

/// A field the engine acts on, or `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Known {
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    ProxyAuthenticate,
    ProxyAuthorization,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    /// Any other that begins with `X-Forwarded`.
    XForwarded,
    XRealIp,
    Forwarded,
    Via,
    Date,
    /// One of those with a dash, spelled with an underscore: CGI and its heirs see no difference.
    Underscored,
}

/// How many there are, `Other` included.
pub(crate) const COUNT: usize = Known::Underscored as usize + 1;

/// Names of eight bytes and more, by their first and last eight.
const LONG: [Long; 13] = [
    Long::new("forwarded", Known::Forwarded),
    Long::new("x-real-ip", Known::XRealIp),
    Long::new("connection", Known::Connection),
    Long::new("keep-alive", Known::KeepAlive),
    Long::new("content-length", Known::ContentLength),
    Long::new("x-forwarded-for", Known::XForwardedFor),
    Long::new("x-forwarded-host", Known::XForwardedHost),
    Long::new("x-forwarded-port", Known::XForwardedPort),
    Long::new("proxy-connection", Known::ProxyConnection),
    Long::new("transfer-encoding", Known::TransferEncoding),
    Long::new("x-forwarded-proto", Known::XForwardedProto),
    Long::new("proxy-authenticate", Known::ProxyAuthenticate),
    Long::new("proxy-authorization", Known::ProxyAuthorization),
];

struct Long {
    text: &'static str,
    ends: (u64, u64),
    known: Known,
}

impl Long {
    const fn new(text: &'static str, known: Known) -> Self {
        let bytes = text.as_bytes();
        Long { text, ends: (word(bytes, 0), word(bytes, bytes.len() - 8)), known }
    }
}

/// Eight bytes in lower case; of the bytes a name can have, only letters change.
const fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    let mut i = 0;
    while i < 8 {
        word[i] = bytes[at + i];
        i += 1;
    }
    u64::from_le_bytes(word) | 0x2020_2020_2020_2020
}

impl Known {
    /// Recognises a name, whatever its case.
    #[inline(never)] // the one place where it counts asks `of_usual` first
    pub(crate) fn of(name: &[u8]) -> Known {
        match Known::of_usual(name) {
            Known::Other if name.contains(&b'_') => Known::of_underscored(name),
            Known::Other if begins_with(name, b"x-forwarded") => Known::XForwarded,
            known => known,
        }
    }

    /// The same for names without an underscore that do not begin with an x: nearly all, and no search.
    #[inline(always)]
    pub(crate) fn of_usual(name: &[u8]) -> Known {
        let candidates = match name.len() {
            2..=7 => return Known::of_short(name),
            9 => &LONG[0..2],
            10 => &LONG[2..4],
            14 => &LONG[4..5],
            15 => &LONG[5..6],
            16 => &LONG[6..9],
            17 => &LONG[9..11],
            18 => &LONG[11..12],
            19 => &LONG[12..13],
            _ => return Known::Other,
        };
        let ends = (word(name, 0), word(name, name.len() - 8));
        // Up to sixteen bytes the two ends are all of it.
        let same =
            |long: &&Long| long.ends == ends && (name.len() <= 16 || name.eq_ignore_ascii_case(long.text.as_bytes()));
        candidates.iter().find(same).map_or(Known::Other, |long| long.known)
    }

    /// The longest name has nineteen bytes; of a longer one only the beginning counts.
    #[cold]
    fn of_underscored(name: &[u8]) -> Known {
        let (mut dashed, length) = ([0; 32], name.len().min(32));
        for (to, from) in dashed.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { *from };
        }
        match Known::of(&dashed[..length]) {
            Known::Other => Known::Other,
            _ => Known::Underscored,
        }
    }

    #[inline(always)]
    fn of_short(name: &[u8]) -> Known {
        let mut word = [0; 8];
        word[..name.len()].copy_from_slice(name);
        match &(u64::from_le_bytes(word) | 0x2020_2020_2020_2020).to_le_bytes() {
            b"host    " => Known::Host,
            b"te      " => Known::Te,
            b"via     " => Known::Via,
            b"date    " => Known::Date,
            b"expect  " => Known::Expect,
            b"upgrade " => Known::Upgrade,
            b"trailer " => Known::Trailer,
            _ => Known::Other,
        }
    }
}

fn begins_with(name: &[u8], start: &[u8]) -> bool {
    name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start))
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
        assert_eq!(Known::of(b"X-FORWARDED-FOR"), Known::XForwardedFor);
        assert_eq!(Known::of(b"transfer-Xncoding"), Known::Other);
        assert_eq!(Known::of(b"Date"), Known::Date);
    }

    #[test]
    fn recognises_claims_and_what_an_origin_may_take_for_them() {
        let check = |names: &[&str], known| {
            for name in names {
                assert_eq!(Known::of(name.as_bytes()), known, "{name}");
            }
        };
        check(&["X-Forwarded-Prefix", "x-forwarded-ssl", "X-FORWARDED", "X-Forwarded-Client-Cert"], Known::XForwarded);
        check(&["X_Forwarded_For", "x-forwarded_for", "X_FORWARDED_PROTO", "X_Real-IP"], Known::Underscored);
        check(&["X_Forwarded_Prefix", "X-Forwarded-Client_Cert", "X_Forwarded"], Known::Underscored);
        check(&["x_forwarded_what_has_a_long_name_indeed", "Content_Length", "TRANSFER_ENCODING"], Known::Underscored);
        check(&["Keep_Alive", "Proxy_Authorization"], Known::Underscored);
        check(&["X_Forwardee_For", "X_Forwarde", "X-Real_IQ", "Content_Lengti", "c_ntent-length"], Known::Other);
        check(&["Content-Type", "Content_Type", "Transfer_Xncoding", "X_Request_Id", "_", "________"], Known::Other);
        check(
            &["x-forwarde", "x", "x-", "Y-Forwarded-For", "a_name_that_is_longer_than_any_that_is_known"],
            Known::Other,
        );
    }

    #[test]
    fn sets_intersect_by_member() {
        let mut set = KnownSet::default();
        set.insert(Known::Te);
        assert!(set.intersects(KnownSet::of(&[Known::Host, Known::Te])));
        assert!(!set.intersects(KnownSet::of(&[Known::Host])));
    }
}
