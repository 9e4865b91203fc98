// Python's pickle as data. A pickle is a program for a stack machine; here it builds a table of
// values and nothing else: no name is imported and nothing is called. What Python would make by
// calling stays a value that says what would have been called, and with what.
//
// The format: https://docs.python.org/3/library/pickletools.html. Protocols 2 to 5.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

class Pickle {
 public:
  using Ref = std::uint32_t;  // into the table; a value may be part of many, and of itself
  enum class Kind : std::uint8_t {
    none,
    boolean,  // integer is 0 or 1
    integer,  // or, where it needs more than 64 bits, text: its bytes
    real,
    text,        // or bytes
    list,        // items; a tuple or a set too
    dict,        // items: key, value, key, value ...
    global,      // text: "torch.FloatStorage"
    persistent,  // items: the one value that says which
    object       // callable and arguments; items as of a list or a dict, state: what it was given
  };
  static constexpr Ref kNothing = 0;  // the table begins with None

  struct Value {
    Kind kind = Kind::none;
    Ref callable = kNothing, arguments = kNothing, state = kNothing;
    std::int64_t integer = 0;
    double real = 0;
    std::string text = {};
    std::vector<Ref> items = {};
  };

  // Reads one pickle from the beginning of `bytes`. Throws a usage error, "FILE: its pickle ...",
  // where it is damaged, of another protocol or beyond what weights need: memory is bounded by
  // kMostValues and by the pickle's own length, time by kMostSteps.
  Pickle(std::string_view bytes, std::string file);

  static constexpr std::size_t kMostSteps = 8'000'000, kMostValues = 1'000'000;

  Ref root() const { return root_; }
  const Value& operator[](Ref ref) const { return values_[ref]; }
  std::size_t values() const { return values_.size(); }
  std::size_t length() const { return length_; }  // in bytes

  // The value under a text key; null where this is no dict, or has it not.
  const Value* find(const Value& dict, std::string_view key) const;

 private:
  friend class PickleReader;
  std::deque<Value> values_;
  Ref root_ = kNothing;
  std::size_t length_ = 0;
};

}  // namespace tapescope
