#include "tools/report/confusion.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/files/text.h"

namespace tapescope {
namespace {

constexpr std::size_t kPairs = 20;
constexpr std::size_t kShort = 9;  // characters of a name above a column

std::string right_aligned(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, characters(text)), ' ') + text;
}

std::string table(const ConfusionMatrix& matrix, const std::vector<std::string>& names) {
  std::size_t longest = 0;
  for (const std::string& name : names) longest = std::max(longest, characters(name));
  // Long names stand beside their rows only; a number says which column is theirs.
  const bool numbered = longest > kShort;
  std::vector<std::string> rows = names, columns = names;
  if (numbered) {
    for (std::size_t c = 0; c < names.size(); ++c) {
      columns[c] = fmt::format("[{}]", c);
      rows[c] = fmt::format("{:>4} {}", columns[c], names[c]);
    }
  }
  std::size_t row_width = 0, width = 5;
  for (const std::string& row : rows) row_width = std::max(row_width, characters(row));
  for (const std::string& column : columns) width = std::max(width, characters(column));
  std::string text =
      "confusion (row: true class, column: predicted)\n" + std::string(row_width, ' ');
  for (const std::string& column : columns) text += " " + right_aligned(column, width);
  text += "\n";
  for (std::size_t c = 0; c < rows.size(); ++c) {
    text += padded(rows[c], row_width);
    for (std::int64_t count : matrix[c]) {
      text += " " + right_aligned(std::to_string(count), width);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::vector<ConfusedPair> most_confused(const ConfusionMatrix& matrix, std::size_t most) {
  std::vector<ConfusedPair> pairs;
  for (std::size_t label = 0; label < matrix.size(); ++label) {
    for (std::size_t predicted = 0; predicted < matrix[label].size(); ++predicted) {
      if (label == predicted || matrix[label][predicted] == 0) continue;
      pairs.push_back({label, predicted, matrix[label][predicted]});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const ConfusedPair& a, const ConfusedPair& b) { return a.count > b.count; });
  if (pairs.size() > most) pairs.resize(most);
  return pairs;
}

std::string confusion_text(const ConfusionMatrix& matrix, const std::vector<std::string>& classes) {
  std::vector<std::string> names;
  for (const std::string& name : classes) names.push_back(printable(name));
  if (names.size() < kManyClasses) return table(matrix, names);
  const std::vector<ConfusedPair> pairs = most_confused(matrix, kPairs);
  std::string text = "most confused (--json has the whole matrix)\n";
  if (pairs.empty()) text += "none: every answer is right\n";
  for (const ConfusedPair& pair : pairs) {
    std::int64_t images = 0;
    for (std::int64_t count : matrix[pair.label]) images += count;
    text += fmt::format("{:>6} of {:>6}  {} taken for {}\n", pair.count, images, names[pair.label],
                        names[pair.predicted]);
  }
  return text;
}

}  // namespace tapescope
