//! How origins behave.

use proxy_core::testing::Script;

/// What an origin does with the requests it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers each with a counted body.
    Counted,
    Chunked,
    /// Speaks HTTP/1.0, and closes behind each answer.
    UntilClose,
    /// Sends 103 first.
    Interim,
    /// Answers before the body came, and closes.
    Early,
    /// Switches protocols, whether it was asked to or not.
    Switches,
    /// Closes without an answer.
    Silent,
}

impl Manner {
    pub(crate) const ALL: [Manner; 7] = [
        Manner::Counted,
        Manner::Chunked,
        Manner::UntilClose,
        Manner::Interim,
        Manner::Early,
        Manner::Switches,
        Manner::Silent,
    ];

    /// Whether every whole request is answered with 200 and the body `ok`.
    pub(crate) fn answers_all(self) -> bool {
        matches!(self, Manner::Counted | Manner::Chunked | Manner::UntilClose | Manner::Interim)
    }

    pub(crate) fn script(self) -> Script {
        let script = Script::new();
        match self {
            Manner::Counted => Script::ok(),
            Manner::Chunked => {
                let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nA: b\r\n\r\n";
                script.read_request().answer(answer).repeat()
            }
            Manner::UntilClose => script.read_request().answer("HTTP/1.0 200 OK\r\n\r\nok").close(),
            Manner::Interim => {
                let answer =
                    "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                script.read_request().answer(answer).repeat()
            }
            Manner::Early => script.read_head().answer("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").close(),
            Manner::Switches => {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
                script.read_head().answer(answer).echo()
            }
            Manner::Silent => script.read_head().close(),
        }
    }
}
