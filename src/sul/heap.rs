//! A 4-ary heap of deadlines that knows where each entry is.

use alloc::vec::Vec;

use lodger_backend::Micros;

use super::slots::{NONE, Slots};

/// Children of a node. Four keys side by side cost about one cache line, and the tree is half as
/// deep as a binary one.
const ARITY: usize = 4;
/// Nodes in a page, a multiple of [`ARITY`].
const PAGE: usize = 256;
/// Unused places before the root, so that the children of a node lie in one page.
const SHIFT: usize = ARITY - 1;

/// One armed entry. The key is the entry's own, or a lower bound of it after it was extended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) at: Micros,
    pub(super) order: u64,
    pub(super) index: u32,
}

impl Node {
    /// Joins time and order of arming to one number, which compares without a branch.
    #[inline]
    fn key(&self) -> u128 {
        (u128::from(self.at.get()) << 64) | u128::from(self.order)
    }

    /// Tells whether this one fires before `other`.
    #[inline]
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.key() < other.key()
    }
}

/// The least key first. Every move is written back to the entry's slot.
#[derive(Debug)]
pub(super) struct Heap {
    nodes: Nodes,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self { nodes: Nodes { pages: Vec::new(), len: 0 } }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len
    }

    /// Makes room for `entries` in all, so that arming allocates nothing.
    pub(super) fn make_room(&mut self, entries: usize) {
        self.nodes.make_room(entries);
    }

    /// Gives how many entries fit without an allocation.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.nodes.pages.len() * PAGE
    }

    /// Gives a time before which nothing fires: exact, or earlier if the head was extended.
    #[inline]
    pub(super) fn bound(&self) -> Option<Micros> {
        self.nodes.get(0).map(|head| head.at)
    }

    /// Gives when the first entry fires. A head that was moved to a later time meanwhile is put in
    /// its place before, so what is given is exact. One that was armed again for the same time
    /// stays: timeouts with slack are, with every message, and cost nothing here.
    pub(super) fn next<T: Copy>(&mut self, slots: &mut Slots<T>) -> Option<Micros> {
        loop {
            let head = self.nodes.get(0)?;
            let now = current(head, slots)?;
            if now.at == head.at {
                return Some(head.at);
            }
            self.sift_down(0, now, slots);
        }
    }

    /// Gives the entry that fires first, among equal times the one that was armed first.
    pub(super) fn first<T: Copy>(&mut self, slots: &mut Slots<T>) -> Option<Node> {
        loop {
            let head = self.nodes.get(0)?;
            let now = current(head, slots)?;
            if now.key() == head.key() {
                return Some(head);
            }
            self.sift_down(0, now, slots);
        }
    }

    /// Puts in an entry that is not in it.
    pub(super) fn push<T: Copy>(&mut self, node: Node, slots: &mut Slots<T>) {
        let hole = self.nodes.len;
        self.nodes.push(node);
        self.sift_up(hole, node, slots);
    }

    /// Gives the key of the entry at `pos`.
    pub(super) fn at(&self, pos: u32) -> Option<Micros> {
        self.nodes.get(pos as usize).map(|node| node.at)
    }

    /// Gives the entry at `pos` a key that is before its old one.
    pub(super) fn advance<T: Copy>(&mut self, pos: u32, node: Node, slots: &mut Slots<T>) {
        self.sift_up(pos as usize, node, slots);
    }

    /// Takes out the entry at `pos`; its slot is told.
    pub(super) fn remove<T: Copy>(&mut self, pos: u32, slots: &mut Slots<T>) {
        let pos = pos as usize;
        let Some(gone) = self.nodes.get(pos) else { return };
        let Some(last) = self.nodes.pop() else { return };
        if let Some(slot) = slots.raw_mut(gone.index) {
            slot.set_pos(NONE);
        }
        if pos == self.nodes.len {
            return;
        }
        if last.is_before(&gone) {
            self.sift_up(pos, last, slots);
        } else {
            self.sift_down(pos, last, slots);
        }
    }

    /// Moves the hole at `pos` towards the root until `node` fits, and puts it there.
    fn sift_up<T: Copy>(&mut self, mut pos: usize, node: Node, slots: &mut Slots<T>) {
        while pos > 0 {
            let above = (pos - 1) / ARITY;
            let Some(parent) = self.nodes.get(above) else { break };
            if !node.is_before(&parent) {
                break;
            }
            self.put(pos, parent, slots);
            pos = above;
        }
        self.put(pos, node, slots);
    }

    /// Moves the hole at `pos` towards the leaves until `node` fits, and puts it there.
    fn sift_down<T: Copy>(&mut self, mut pos: usize, node: Node, slots: &mut Slots<T>) {
        while let Some((below, child)) = self.nodes.least_child(pos) {
            if !child.is_before(&node) {
                break;
            }
            self.put(pos, child, slots);
            pos = below;
        }
        self.put(pos, node, slots);
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "no more nodes than u32 indices of slots")]
    fn put<T: Copy>(&mut self, pos: usize, node: Node, slots: &mut Slots<T>) {
        if let Some(place) = self.nodes.get_mut(pos) {
            *place = node;
        }
        if let Some(slot) = slots.raw_mut(node.index) {
            slot.set_pos(pos as u32);
        }
    }
}

/// Gives the key that the entry of `node` has by now.
#[inline]
fn current<T: Copy>(node: Node, slots: &Slots<T>) -> Option<Node> {
    let slot = slots.raw(node.index)?;
    Some(Node { at: slot.at(), order: slot.order(), index: node.index })
}

/// The nodes, level by level, in pages that never move: a vector that doubles would stop the
/// host's loop for a millisecond at 100,000 entries.
#[derive(Debug)]
struct Nodes {
    pages: Vec<Vec<Node>>,
    len: usize,
}

impl Nodes {
    fn make_room(&mut self, entries: usize) {
        while self.pages.len() * PAGE < entries.saturating_add(SHIFT) {
            let mut page = Vec::with_capacity(PAGE);
            if self.pages.is_empty() {
                page.resize(SHIFT, Node { at: Micros::ZERO, order: 0, index: NONE });
            }
            self.pages.push(page);
        }
    }

    #[inline]
    fn get(&self, pos: usize) -> Option<Node> {
        let place = pos + SHIFT;
        self.pages.get(place / PAGE)?.get(place % PAGE).copied()
    }

    #[inline]
    fn get_mut(&mut self, pos: usize) -> Option<&mut Node> {
        let place = pos + SHIFT;
        self.pages.get_mut(place / PAGE)?.get_mut(place % PAGE)
    }

    /// Gives the child of the node at `pos` that fires first.
    #[inline]
    fn least_child(&self, pos: usize) -> Option<(usize, Node)> {
        let begin = pos * ARITY + 1;
        let place = begin + SHIFT;
        let page = self.pages.get(place / PAGE)?;
        let (first, others) = page.get(place % PAGE..)?.split_first()?;
        let mut least = (begin, first);
        for (i, child) in others.iter().take(ARITY - 1).enumerate() {
            if child.is_before(least.1) {
                least = (begin + 1 + i, child);
            }
        }
        Some((least.0, *least.1))
    }

    fn push(&mut self, node: Node) {
        self.make_room(self.len + 1);
        if let Some(page) = self.pages.get_mut((self.len + SHIFT) / PAGE) {
            page.push(node);
            self.len += 1;
        }
    }

    fn pop(&mut self) -> Option<Node> {
        let last = self.len.checked_sub(1)?;
        let node = self.pages.get_mut((last + SHIFT) / PAGE)?.pop()?;
        self.len = last;
        Some(node)
    }
}
