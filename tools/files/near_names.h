// "did you mean": the name that a mistyped one was meant to be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

// Insertions, deletions, replacements and exchanges of neighbours between two words (optimal string
// alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The one of `known` that `word` is most like: the same but for case, hyphens and underscores, a
// few letters apart, or made of the same words and more (--size, --image-size). Empty where none
// is.
std::string near_name(std::string_view word, const std::vector<std::string>& known);

// "; did you mean grad-cam?", or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

// Throws a usage error with the near name where `word` is none of `known` but like one. `list` says
// where all stand. What is like none is left to who looks it up.
void expect_no_slip(const std::string& what, const std::string& word,
                    const std::vector<std::string>& known, const std::string& list);

}  // namespace tapescope
