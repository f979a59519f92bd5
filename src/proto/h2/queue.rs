//! Which stream sends next: RFC 9218, section 10. The most urgent first; of one urgency each in its
//! turn, except that what is of no use in parts is sent to its end.

use alloc::collections::VecDeque;

use super::priority::Priority;

/// Streams that have something to send and the window for it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lists: [VecDeque<u32>; 8],
    /// Bit n: list n is not empty.
    some: u8,
}

impl Queue {
    /// Puts a stream behind the others of its urgency.
    pub(super) fn push(&mut self, stream: u32, priority: Priority) {
        if let Some(list) = self.lists.get_mut(usize::from(priority.urgency)) {
            list.push_back(stream);
            self.some |= 1 << priority.urgency;
        }
    }

    /// Puts back what was popped and has more to send: in front if it does not share its turn.
    pub(super) fn put_back(&mut self, stream: u32, priority: Priority) {
        if priority.shares {
            self.push(stream, priority);
        } else if let Some(list) = self.lists.get_mut(usize::from(priority.urgency)) {
            list.push_front(stream);
            self.some |= 1 << priority.urgency;
        }
    }

    /// Takes the next one.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let first = self.some.trailing_zeros();
        let list = self.lists.get_mut(usize::try_from(first).ok()?)?;
        let stream = list.pop_front();
        if list.is_empty() {
            self.some &= !(1u8 << (first & 7));
        }
        stream
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.some == 0
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn the_urgent_go_first_and_equals_in_turn() {
        let mut queue = Queue::default();
        let at = |urgency, shares| Priority { urgency, shares };
        for (stream, priority) in
            [(1, at(3, true)), (3, at(3, true)), (5, at(0, false)), (7, at(7, true))]
        {
            queue.push(stream, priority);
        }
        let mut order = Vec::new();
        while let Some(stream) = queue.pop() {
            order.push(stream);
            // Each has three parts.
            if order.iter().filter(|s| **s == stream).count() < 3 {
                let priority = if stream == 5 {
                    at(0, false)
                } else {
                    at(if stream == 7 { 7 } else { 3 }, true)
                };
                queue.put_back(stream, priority);
            }
        }
        assert_eq!(order, [5, 5, 5, 1, 3, 1, 3, 1, 3, 7, 7, 7]);
        assert!(queue.is_empty());
    }
}
