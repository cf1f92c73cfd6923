//! A rate limit in a proxy.

use proxy_core::{Context, Filter, Flow, Instant, Request, Response, Result};

use super::{First, Next, RateLimit, Refusal};
use crate::ready::{Hook, pass, respond};
use crate::{Announce, Decision, Subject, notes};

impl RateLimit {
    fn id(&self) -> usize {
        notes::id(&*self.0)
    }

    /// Only a local decision that lets pass at once takes no memory.
    fn follow<'a>(&self, next: Next, context: &mut Context) -> Hook<'a> {
        match next {
            Next::Pass(decision) => {
                self.remember(decision, context);
                pass()
            }
            Next::Wait(delay, decision) => {
                self.remember(Some(decision), context);
                Box::pin(async move {
                    tokio::time::sleep(delay).await;
                    Ok(Flow::Continue)
                })
            }
            Next::Refuse(refusal) => respond(refusal.into()),
        }
    }

    fn remember(&self, decision: Option<Decision>, context: &mut Context) {
        if let (Some(decision), Announce::Always) = (decision, self.0.answer.announce) {
            notes::leave(context, self.id(), decision);
        }
    }
}

impl Filter for RateLimit {
    // Not `async`: that would cost each request a box.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        context: &'life2 mut Context,
    ) -> Hook<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        let now = Instant::now();
        let subject = Subject::proxied(request.head(), request.body().exact_length(), context);
        match self.0.first(&subject, now) {
            First::Pass => pass(),
            First::Decided(decision) => self.follow(self.0.next(decision), context),
            First::Ask(remote, key, cost) => Box::pin(async move {
                let next = self.0.next_answered(remote.check(&key, now, cost).await);
                self.follow(next, context).await
            }),
        }
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        if let Some(decision) = notes::read::<Decision>(context, self.id()) {
            let headers = response.head_mut().headers_mut();
            // Several limits list themselves one after the other.
            self.0.answer.fields(decision, |name, value| headers.append(name, value));
        }
        Ok(())
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.status.canonical_reason().unwrap_or("refused");
        let mut response = Response::text(refusal.status, format!("{} {reason}\n", refusal.status.as_str()));
        let headers = response.head_mut().headers_mut();
        refusal.fields.into_iter().for_each(|(name, value)| headers.append(name, value));
        response
    }
}
