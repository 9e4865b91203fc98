// A node by its path, and what it may have been meant where there is none.
#include <algorithm>

#include "autograd/tape.h"

namespace tapescope {

// Insertions, deletions and replacements from one word to the other (Levenshtein 1966).
static std::size_t edits(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row[to.size()];
}

Var Tape::find(std::string_view path) const {
  for (const Node* node : nodes_)
    if (node->path() == path) return node->out();
  for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it) {
    const std::string_view label((*it)->use->label);
    if (label.size() > path.size() && label.starts_with(path) && label[path.size()] == '/' &&
        !(*it)->op->is_leaf()) {
      return (*it)->out();
    }
  }
  std::vector<std::pair<std::size_t, std::string>> known;
  for (const Node* node : nodes_) {
    if (node->op->is_leaf() || *node->prefix != 0) continue;
    const std::string name = node->path();
    known.emplace_back(edits(path, name), name);
  }
  std::stable_sort(known.begin(), known.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string near;
  for (std::size_t i = 0; i < std::min<std::size_t>(5, known.size()); ++i) {
    near += (near.empty() ? "" : ", ") + known[i].second;
  }
  throw usage_error(
      "there is no node '{}' on the tape; near names are {}; `tapescope inspect structure` lists "
      "all {}",
      path, near, known.size());
}

}  // namespace tapescope
