// Which classes are taken for which.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tapescope {

using ConfusionMatrix = std::vector<std::vector<std::int64_t>>;  // [label][predicted]

// From this many classes on a table is no longer read: the pairs most confused are told instead.
constexpr std::size_t kManyClasses = 21;

struct ConfusedPair {
  std::size_t label = 0, predicted = 0;
  std::int64_t count = 0;
};
// The most frequent errors first, equal ones in the order of the classes.
std::vector<ConfusedPair> most_confused(const ConfusionMatrix& matrix, std::size_t most);

// The matrix with the same labels on both axes, or the pairs most confused of many classes.
std::string confusion_text(const ConfusionMatrix& matrix, const std::vector<std::string>& classes);

}  // namespace tapescope
