#include "tools/files/split_name.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tapescope {
namespace {

// Folders and files are called so.
constexpr std::pair<std::string_view, Split> kWords[] = {{"train", Split::train},
                                                         {"training", Split::train},
                                                         {"trainset", Split::train},
                                                         {"trn", Split::train},
                                                         {"val", Split::validation},
                                                         {"valid", Split::validation},
                                                         {"validation", Split::validation},
                                                         {"validate", Split::validation},
                                                         {"valset", Split::validation},
                                                         {"minival", Split::validation},
                                                         {"dev", Split::validation},
                                                         {"test", Split::test},
                                                         {"testing", Split::test},
                                                         {"testset", Split::test},
                                                         {"tst", Split::test},
                                                         {"trainval", Split::trainval}};

bool is_small(char c) { return c >= 'a' && c <= 'z'; }
bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

}  // namespace

std::vector<std::string> words_in(std::string_view name) {
  std::vector<std::string> words;
  char before = 0;
  for (const char c : name) {
    if (is_small(c) || is_capital(c)) {
      const bool inside = is_small(before) || is_capital(before);
      if (!inside || (is_small(before) && is_capital(c))) words.emplace_back();
      words.back() += is_capital(c) ? static_cast<char>(c + 32) : c;
    }
    before = c;
  }
  return words;
}

Split split_in(std::string_view name) {
  Split split = Split::none;
  bool train = false, validation = false, test = false;
  for (const std::string& word : words_in(name)) {
    const auto* known = std::find_if(std::begin(kWords), std::end(kWords),
                                     [&](const auto& entry) { return entry.first == word; });
    if (known == std::end(kWords)) continue;
    split = known->second;
    train = train || split == Split::train;
    validation = validation || split == Split::validation;
    test = test || split == Split::test;
  }
  return train && validation && !test ? Split::trainval : split;
}

}  // namespace tapescope
