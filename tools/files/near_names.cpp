#include "tools/files/near_names.h"

#include <algorithm>
#include <cctype>

#include "engine/error.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

// In small letters, without what separates words.
std::string bare(std::string_view word) {
  std::string letters;
  for (char c : word) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && (c & 0x80) == 0) continue;
    letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return letters;
}

// Whether `part` stands at the beginning or the end of `name`, with whole words beside it.
bool is_part(const std::string& part, const std::string& name) {
  if (part.size() < 3 || part.size() >= name.size()) return false;
  return name.starts_with(part + "-") || name.ends_with("-" + part);
}

std::string words_of(std::string_view name) {
  while (name.starts_with('-')) name.remove_prefix(1);
  std::string words(name);
  std::replace(words.begin(), words.end(), '_', '-');
  return words;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  const std::size_t n = b.size() + 1;
  std::vector<std::size_t> before(n), last(n), row(n);
  for (std::size_t j = 0; j < n; ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j < n; ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string near_name(std::string_view word, const std::vector<std::string>& known) {
  const std::string meant = bare(word);
  if (meant.empty()) return "";
  // A third of the letters may be wrong; a name made of the same words and more comes behind a
  // single slip and before two.
  const std::size_t most = std::max<std::size_t>(1, meant.size() / 3);
  std::string best;
  std::size_t least = std::max<std::size_t>(2 * most, 3) + 1;
  for (const std::string& name : known) {
    std::size_t cost = 2 * edit_distance(meant, bare(name));
    if (cost > 3 && is_part(words_of(word), words_of(name))) cost = 3;
    if (cost < least) {
      least = cost;
      best = name;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string name = near_name(word, known);
  return name.empty() ? "" : "; did you mean " + name + "?";
}

void expect_no_slip(const std::string& what, const std::string& word,
                    const std::vector<std::string>& known, const std::string& list) {
  if (std::find(known.begin(), known.end(), word) != known.end()) return;
  const std::string hint = did_you_mean(word, known);
  if (!hint.empty()) throw usage_error("unknown {} '{}'{} {}", what, word, hint, list);
}

}  // namespace tapescope
