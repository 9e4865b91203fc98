#include "tools/training/pickle.h"

#include <bit>
#include <cstring>
#include <unordered_map>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {

// The stack machine.
class PickleReader {
 public:
  PickleReader(Pickle& pickle, std::string_view bytes, const std::string& file)
      : values_(pickle.values_), bytes_(bytes), file_(file) {}

  void run(Pickle& pickle) {
    push(Kind::none);  // kNothing
    stack_.clear();
    for (std::size_t steps = 0; !stopped_; ++steps) {
      if (steps == Pickle::kMostSteps) bad("takes more than {} steps", Pickle::kMostSteps);
      step(whole(1));
    }
    pickle.root_ = pop();
    pickle.length_ = at_;
  }

 private:
  using Ref = Pickle::Ref;
  using Kind = Pickle::Kind;
  using Value = Pickle::Value;

  template <class... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> text, Args&&... args) const {
    throw usage_error("{}: its pickle {} (at byte {}); the file is damaged or no model's weights",
                      file_, fmt::format(text, std::forward<Args>(args)...), at_);
  }

  // --- bytes -------------------------------------------------------------------------------------
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) bad("is cut short");
    const std::string_view part = bytes_.substr(at_, static_cast<std::size_t>(count));
    at_ += part.size();
    return part;
  }
  // A whole number of so many bytes, little-endian.
  std::uint64_t whole(int count) {
    std::uint64_t value = 0;
    int shift = 0;
    for (const char byte : take(static_cast<std::uint64_t>(count))) {
      value |= std::uint64_t{static_cast<unsigned char>(byte)} << shift;
      shift += 8;
    }
    return value;
  }
  std::string_view line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) bad("is cut short");
    const std::string_view text = take(end - at_);
    ++at_;
    return text;
  }

  // --- stack, marks and memo ---------------------------------------------------------------------
  Value& push(Kind kind) {
    if (values_.size() == Pickle::kMostValues) bad("has more than {} values", Pickle::kMostValues);
    stack_.push_back(static_cast<Ref>(values_.size()));
    values_.push_back({.kind = kind});
    return values_.back();
  }
  void push_integer(std::int64_t value, Kind kind = Kind::integer) { push(kind).integer = value; }
  void push_text(std::uint64_t length, Kind kind = Kind::text) { push(kind).text = take(length); }
  std::size_t fence() const { return marks_.empty() ? 0 : marks_.back(); }
  Ref pop() {
    if (stack_.size() <= fence()) bad("takes from an empty stack");
    const Ref top = stack_.back();
    stack_.pop_back();
    return top;
  }
  Value& top() {
    if (stack_.size() <= fence()) bad("takes from an empty stack");
    return values_[stack_.back()];
  }
  std::vector<Ref> pop_to_mark() {
    if (marks_.empty()) bad("takes to a mark that was not set");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Ref> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void remember(std::uint64_t index) {
    if (stack_.size() <= fence()) bad("takes from an empty stack");
    // As many places as there are values, whatever the numbers they have.
    if (memo_.size() >= Pickle::kMostValues && !memo_.contains(index)) bad("remembers too much");
    memo_[index] = stack_.back();
  }
  void recall(std::uint64_t index) {
    const auto it = memo_.find(index);
    if (it == memo_.end()) bad("recalls value {}, which it never kept", index);
    stack_.push_back(it->second);
  }

  // --- what is made ------------------------------------------------------------------------------
  void push_items(Kind kind, std::vector<Ref> items) { push(kind).items = std::move(items); }
  void push_tuple(int count) {
    std::vector<Ref> items(static_cast<std::size_t>(count));
    for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
    push_items(Kind::list, std::move(items));
  }
  void push_called() {
    const Ref arguments = pop(), callable = pop();
    Value& object = push(Kind::object);
    object.callable = callable;
    object.arguments = arguments;
  }
  void append(const std::vector<Ref>& items, bool pairs) {
    Value& to = top();
    if (to.kind != Kind::object && to.kind != (pairs ? Kind::dict : Kind::list)) {
      bad("puts items into what has none");
    }
    if (pairs && items.size() % 2 != 0) bad("has a key without a value");
    to.items.insert(to.items.end(), items.begin(), items.end());
  }
  void append_popped(int count, bool pairs) {
    std::vector<Ref> items(static_cast<std::size_t>(count));
    for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
    append(items, pairs);
  }
  void push_global() {
    const Ref name = pop(), module = pop();
    if (values_[name].kind != Kind::text || values_[module].kind != Kind::text) {
      bad("names something by no name");
    }
    std::string text = values_[module].text + "." + values_[name].text;
    push(Kind::global).text = std::move(text);
  }
  void push_long(std::uint64_t length) {
    const std::string_view digits = take(length);
    Value& value = push(Kind::integer);
    if (digits.size() > 8) {
      value.text = digits;
      return;
    }
    // Two's complement of so many bytes.
    std::uint64_t bits = !digits.empty() && digits.back() < 0 ? ~std::uint64_t{0} : 0;
    std::memcpy(&bits, digits.data(), digits.size());
    value.integer = static_cast<std::int64_t>(bits);
  }

  void step(std::uint64_t code);
  bool step_stack(unsigned char code);
  bool step_plain(unsigned char code);
  bool step_items(unsigned char code);
  bool step_object(unsigned char code);

  std::deque<Value>& values_;
  std::string_view bytes_;
  const std::string& file_;
  std::size_t at_ = 0;
  bool stopped_ = false;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Ref> memo_;
};

// One instruction, by the names of Python's pickletools.
void PickleReader::step(std::uint64_t code) {
  const auto instruction = static_cast<unsigned char>(code);
  if (step_stack(instruction) || step_plain(instruction) || step_items(instruction) ||
      step_object(instruction)) {
    return;
  }
  bad("has the instruction 0x{:02x}, which torch.save does not write", code);
}

// The frame, the stack and the memo. Each of these returns whether the instruction is one of its
// own.
bool PickleReader::step_stack(unsigned char code) {
  switch (code) {
    case 0x80:  // PROTO
      if (const std::uint64_t protocol = whole(1); protocol > 5) bad("is of protocol {}", protocol);
      break;
    case 0x95:
      whole(8);
      break;  // FRAME
    case '.':
      stopped_ = true;
      break;  // STOP
    case '(':
      marks_.push_back(stack_.size());
      break;   // MARK
    case '0':  // POP: a value, or a mark with nothing on it
      if (!marks_.empty() && stack_.size() == marks_.back()) {
        marks_.pop_back();
      } else {
        pop();
      }
      break;
    case '1':
      pop_to_mark();
      break;  // POP_MARK
    case '2':
      top(), stack_.push_back(stack_.back());
      break;  // DUP
    case 'q':
      remember(whole(1));
      break;  // BINPUT
    case 'r':
      remember(whole(4));
      break;  // LONG_BINPUT
    case 0x94:
      remember(memo_.size());
      break;  // MEMOIZE
    case 'h':
      recall(whole(1));
      break;  // BINGET
    case 'j':
      recall(whole(4));
      break;  // LONG_BINGET
    default:
      return false;
  }
  return true;
}

// None, numbers, text and bytes.
bool PickleReader::step_plain(unsigned char code) {
  switch (code) {
    case 'N':
      push(Kind::none);
      break;
    case 0x88:
      push_integer(1, Kind::boolean);
      break;  // NEWTRUE
    case 0x89:
      push_integer(0, Kind::boolean);
      break;  // NEWFALSE
    case 'K':
      push_integer(static_cast<std::int64_t>(whole(1)));
      break;  // BININT1
    case 'M':
      push_integer(static_cast<std::int64_t>(whole(2)));
      break;  // BININT2
    case 'J':
      push_integer(static_cast<std::int32_t>(whole(4)));
      break;  // BININT
    case 0x8a:
      push_long(whole(1));
      break;  // LONG1
    case 0x8b:
      push_long(whole(4));
      break;  // LONG4
    case 'G':
      push(Kind::real).real = std::bit_cast<double>(__builtin_bswap64(whole(8)));
      break;
    case 'U':
    case 'C':
    case 0x8c:
      push_text(whole(1));
      break;  // SHORT_BINSTRING, -BYTES, -UNICODE
    case 'T':
    case 'B':
    case 'X':
      push_text(whole(4));
      break;  // BINSTRING, BINBYTES, BINUNICODE
    case 0x8d:
    case 0x8e:
    case 0x96:
      push_text(whole(8));
      break;  // BINUNICODE8, BINBYTES8, BYTEARRAY8
    default:
      return false;
  }
  return true;
}

// Lists, tuples, sets and dicts.
bool PickleReader::step_items(unsigned char code) {
  switch (code) {
    case ']':
    case ')':
    case 0x8f:
      push(Kind::list);
      break;  // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET
    case 'l':
    case 't':
    case 0x91:
      push_items(Kind::list, pop_to_mark());
      break;  // and FROZENSET
    case 0x85:
      push_tuple(1);
      break;
    case 0x86:
      push_tuple(2);
      break;
    case 0x87:
      push_tuple(3);
      break;
    case '}':
      push(Kind::dict);
      break;  // EMPTY_DICT
    case 'a':
      append_popped(1, false);
      break;  // APPEND
    case 'e':
    case 0x90:
      append(pop_to_mark(), false);
      break;  // APPENDS, ADDITEMS
    case 's':
      append_popped(2, true);
      break;  // SETITEM
    case 'u':
      append(pop_to_mark(), true);
      break;  // SETITEMS
    default:
      return false;
  }
  return true;
}

// What Python would import and call.
bool PickleReader::step_object(unsigned char code) {
  switch (code) {
    case 'c': {  // GLOBAL
      std::string module(line());
      push(Kind::global).text = std::move(module) + "." + std::string(line());
      break;
    }
    case 0x93:
      push_global();
      break;  // STACK_GLOBAL
    case 0x92:
      pop();
      push_called();
      break;  // NEWOBJ_EX, whose arguments by name are left out
    case 'R':
    case 0x81:
      push_called();
      break;     // REDUCE, NEWOBJ
    case 'b': {  // BUILD
      const Ref state = pop();
      top().state = state;
      break;
    }
    case 'Q':
      push_items(Kind::persistent, {pop()});
      break;  // BINPERSID
    default:
      return false;
  }
  return true;
}

Pickle::Pickle(std::string_view bytes, std::string file) {
  PickleReader(*this, bytes, file).run(*this);
}

const Pickle::Value* Pickle::find(const Value& dict, std::string_view key) const {
  if (dict.kind != Kind::dict && dict.kind != Kind::object) return nullptr;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const Value& name = values_[dict.items[i]];
    if (name.kind == Kind::text && name.text == key) return &values_[dict.items[i + 1]];
  }
  return nullptr;
}

}  // namespace tapescope
