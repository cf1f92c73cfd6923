//! What a filter remembers of a request, beside others of its kind.

use proxy_core::Context;

/// Values by the filter that left them. The context keeps one value per type; a chain may have
/// several filters of one.
struct Notes<T>(Vec<(usize, T)>);

/// The identity of a filter: where its state lies.
pub(crate) fn id<T: ?Sized>(state: &T) -> usize {
    std::ptr::from_ref(state).cast::<()>() as usize
}

pub(crate) fn leave<T: Send + Sync + 'static>(context: &mut Context, id: usize, note: T) {
    match context.get_mut::<Notes<T>>() {
        Some(notes) => notes.0.push((id, note)),
        None => context.insert(Notes(vec![(id, note)])),
    }
}

pub(crate) fn read<T: Send + Sync + 'static>(context: &Context, id: usize) -> Option<&T> {
    let notes = context.get::<Notes<T>>()?;
    notes.0.iter().find(|(of, _)| *of == id).map(|(_, note)| note)
}
