//! A tree of topics or filters, a node a level. Everything is walked by loops: the depth of a topic
//! is its client's choice.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

/// No node.
const NONE: u32 = 0;

#[derive(Debug)]
struct Node<T> {
    children: BTreeMap<Box<str>, u32>,
    /// The children `+` and `#`; 0 is none, since the root is nobody's child.
    plus: u32,
    hash: u32,
    value: T,
}

/// Values by topic or filter. Node 0 is the root, which has none.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    /// Nodes under way in a walk, kept for the next.
    front: Vec<u32>,
    next: Vec<u32>,
}

impl<T: Default> Node<T> {
    fn new() -> Self {
        Self { children: BTreeMap::new(), plus: NONE, hash: NONE, value: T::default() }
    }

    fn child(&self, level: &str) -> Option<u32> {
        let found = match level {
            "+" => self.plus,
            "#" => self.hash,
            _ => self.children.get(level).copied().unwrap_or(NONE),
        };
        (found != NONE).then_some(found)
    }

    fn set_child(&mut self, level: &str, child: u32) {
        match level {
            "+" => self.plus = child,
            "#" => self.hash = child,
            _ if child == NONE => _ = self.children.remove(level),
            _ => _ = self.children.insert(level.into(), child),
        }
    }

    fn is_leaf(&self) -> bool {
        self.children.is_empty() && self.plus == NONE && self.hash == NONE
    }
}

impl<T: Default> Tree<T> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: [Node::new()].into_iter().collect(),
            free: Vec::new(),
            front: Vec::new(),
            next: Vec::new(),
        }
    }

    fn node(&self, at: u32) -> Option<&Node<T>> {
        self.nodes.get(at as usize)
    }

    /// Gives the value of a key, made if it is new.
    pub(crate) fn entry(&mut self, key: &str) -> &mut T {
        let mut at = 0;
        for level in key.split('/') {
            at = match self.node(at).and_then(|node| node.child(level)) {
                Some(child) => child,
                None => self.add(at, level),
            };
        }
        // The root stands in for a node that cannot be missing.
        let at = if (at as usize) < self.nodes.len() { at as usize } else { 0 };
        #[expect(clippy::indexing_slicing, reason = "the root is always there")]
        &mut self.nodes[at].value
    }

    fn add(&mut self, parent: u32, level: &str) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::new());
            u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        });
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.set_child(level, at);
        }
        at
    }

    /// Gives the value of a key, if it was made.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        let mut at = 0;
        for level in key.split('/') {
            at = self.node(at)?.child(level)?;
        }
        self.nodes.get_mut(at as usize).map(|node| &mut node.value)
    }

    /// Takes the nodes of a key away that hold nothing any more.
    pub(crate) fn prune(&mut self, key: &str, is_empty: impl Fn(&T) -> bool) {
        let mut path = Vec::new();
        let mut at = 0;
        for level in key.split('/') {
            let Some(child) = self.node(at).and_then(|node| node.child(level)) else { return };
            path.push((at, level, child));
            at = child;
        }
        for (parent, level, child) in path.into_iter().rev() {
            let gone = self.node(child).is_some_and(|n| n.is_leaf() && is_empty(&n.value));
            if !gone {
                return;
            }
            if let Some(node) = self.nodes.get_mut(child as usize) {
                *node = Node::new();
            }
            if let Some(node) = self.nodes.get_mut(parent as usize) {
                node.set_child(level, NONE);
            }
            self.free.push(child);
        }
    }

    /// Hands the value of each filter that matches a topic to `f`: MQTT 5.0, section 4.7.
    pub(crate) fn matching(&mut self, topic: &str, mut f: impl FnMut(&mut T)) {
        let (mut front, mut next) =
            (core::mem::take(&mut self.front), core::mem::take(&mut self.next));
        front.clear();
        front.push(0);
        // Section 4.7.2: wildcards do not match what begins with a $.
        let mut wild = !topic.starts_with('$');
        for level in topic.split('/') {
            next.clear();
            for &at in &front {
                let Some(node) = self.nodes.get(at as usize) else { continue };
                let (plus, hash) = if wild { (node.plus, node.hash) } else { (NONE, NONE) };
                let child = node.children.get(level).copied();
                next.extend(child);
                next.extend((plus != NONE).then_some(plus));
                if let Some(node) = self.nodes.get_mut(hash as usize).filter(|_| hash != NONE) {
                    f(&mut node.value);
                }
            }
            core::mem::swap(&mut front, &mut next);
            wild = true;
        }
        for &at in &front {
            let hash = self.node(at).map_or(NONE, |node| node.hash);
            if let Some(node) = self.nodes.get_mut(at as usize) {
                f(&mut node.value);
            }
            if let Some(node) = self.nodes.get_mut(hash as usize).filter(|_| hash != NONE) {
                f(&mut node.value);
            }
        }
        (self.front, self.next) = (front, next);
    }

    /// Hands the value of each topic that a filter matches to `f`.
    pub(crate) fn matched_by(&self, filter: &str, mut f: impl FnMut(&T)) {
        let levels: Vec<&str> = filter.split('/').collect();
        let mut stack = [(0_u32, 0_usize)].into_iter().collect::<Vec<_>>();
        while let Some((at, depth)) = stack.pop() {
            let Some(node) = self.node(at) else { continue };
            let hidden = |name: &str| at == 0 && name.starts_with('$');
            let children = node.children.iter().rev();
            match levels.get(depth) {
                None => f(&node.value),
                Some(&"#") => {
                    // The level above belongs to it, and all below.
                    if at != 0 {
                        f(&node.value);
                    }
                    let below = children.filter(|(name, _)| !hidden(name));
                    stack.extend(below.map(|(_, &child)| (child, depth)));
                }
                Some(&"+") => {
                    let below = children.filter(|(name, _)| !hidden(name));
                    stack.extend(below.map(|(_, &child)| (child, depth + 1)));
                }
                Some(level) => {
                    stack.extend(node.child(level).map(|child| (child, depth + 1)));
                }
            }
        }
    }

    /// Gives every value.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().map(|node| &node.value)
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;
    use crate::proto::mqtt::topic_matches;

    const TOPICS: [&str; 12] =
        ["a", "a/b", "a/b/c", "a//c", "/", "/a", "b/b", "$SYS", "$SYS/x", "a/", "b", "c/d/e/f"];
    const FILTERS: [&str; 16] = [
        "#", "+", "a/#", "a/+", "a/b/c", "+/b", "+/+", "/#", "/+", "$SYS/#", "$SYS/+", "a/+/c",
        "+/b/#", "a/", "c/+/+/f", "b",
    ];

    #[test]
    fn both_walks_agree_with_the_plain_comparison() {
        let mut filters: Tree<Vec<&str>> = Tree::new();
        for filter in FILTERS {
            filters.entry(filter).push(filter);
        }
        let mut topics: Tree<Option<&str>> = Tree::new();
        for topic in TOPICS {
            *topics.entry(topic) = Some(topic);
        }

        for topic in TOPICS {
            let mut found = Vec::new();
            filters.matching(topic, |value| found.extend(value.iter().copied()));
            found.sort_unstable();
            let mut plain: Vec<_> =
                FILTERS.into_iter().filter(|filter| topic_matches(filter, topic)).collect();
            plain.sort_unstable();
            assert_eq!(found, plain, "{topic}");
        }
        for filter in FILTERS {
            let mut found = Vec::new();
            topics.matched_by(filter, |value| found.extend(*value));
            found.sort_unstable();
            let mut plain: Vec<_> =
                TOPICS.into_iter().filter(|topic| topic_matches(filter, topic)).collect();
            plain.sort_unstable();
            assert_eq!(found, plain, "{filter}");
        }
    }

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let mut tree: Tree<Vec<u8>> = Tree::new();
        for filter in FILTERS {
            tree.entry(filter).push(1);
        }
        for filter in FILTERS {
            tree.get_mut(filter).unwrap().clear();
            tree.prune(filter, Vec::is_empty);
        }

        assert!(tree.node(0).unwrap().is_leaf());
        assert_eq!(tree.free.len() + 1, tree.nodes.len());
        tree.entry("x/y/z").push(2);
        assert_eq!(tree.get_mut("x/y/z").map(|value| value.len()), Some(1));
    }

    #[test]
    fn a_deep_topic_is_walked_without_a_stack() {
        let deep: String = "/".repeat(60_000);
        let mut tree: Tree<u8> = Tree::new();
        *tree.entry(&deep) = 1;
        *tree.entry("#") = 1;

        let mut found = 0;
        tree.matching(&deep, |value| found += *value);
        tree.matched_by("#", |value| found += *value);

        assert_eq!(found, 2 + 1);
        *tree.get_mut(&deep).unwrap() = 0;
        tree.prune(&deep, |value| *value == 0);
        assert_eq!(tree.free.len(), 60_001);
    }
}
