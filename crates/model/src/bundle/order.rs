//! Dependency order: what an element points to comes before it, as far as cycles allow.

use std::collections::HashMap;

use crate::{Element, Ident, StixId};

/// The positions of `elements` in an order in which references and ends come first.
///
/// Stable: elements that do not depend on each other keep their order. A cycle is cut at the edge that closes it.
/// Iterative, so that the length of a chain is bounded by memory only. Among elements with the same id the first is the target.
#[must_use]
pub fn order(elements: &[&Element]) -> Vec<usize> {
    let mut by_id: HashMap<StixId, usize> = HashMap::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        for id in &element.stix_ids {
            by_id.entry(*id).or_insert(index);
        }
    }
    let mut dependencies: Vec<Vec<usize>> = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let mut needed: Vec<usize> = Vec::new();
        for target in element.targets() {
            if let Ident::Stix(id) = target
                && let Some(&at) = by_id.get(&id)
                && at != index
            {
                needed.push(at);
            }
        }
        dependencies.push(needed);
    }
    post_order(&dependencies)
}

/// Depth-first post-order with an explicit stack; an edge to a node that is still open is a back edge and ignored.
fn post_order(dependencies: &[Vec<usize>]) -> Vec<usize> {
    let mut result = Vec::with_capacity(dependencies.len());
    let mut visited = vec![false; dependencies.len()];
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for root in 0..dependencies.len() {
        if visited[root] {
            continue;
        }
        visited[root] = true;
        stack.push((root, 0));
        while let Some((node, next)) = stack.pop() {
            match dependencies[node].get(next) {
                Some(&child) => {
                    stack.push((node, next + 1));
                    if !visited[child] {
                        visited[child] = true;
                        stack.push((child, 0));
                    }
                }
                None => result.push(node),
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_elements_keep_their_order() {
        assert_eq!(post_order(&[vec![], vec![], vec![]]), [0, 1, 2]);
    }

    #[test]
    fn what_is_pointed_to_comes_first() {
        assert_eq!(post_order(&[vec![2], vec![], vec![1]]), [1, 2, 0]);
    }

    #[test]
    fn cycles_are_cut_and_nothing_is_lost() {
        assert_eq!(
            post_order(&[vec![1], vec![2], vec![0], vec![3]]),
            [2, 1, 0, 3]
        );
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_does_not_overflow() {
        let chain: Vec<Vec<usize>> = (0..100_000)
            .map(|at| if at < 99_999 { vec![at + 1] } else { vec![] })
            .collect();
        let expected: Vec<usize> = (0..100_000).rev().collect();
        assert_eq!(post_order(&chain), expected);
    }
}
