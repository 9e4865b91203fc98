#include "tools/onnx/wire.h"

#include "engine/error.h"

namespace tapescope::onnx {
namespace {

enum class Message : std::uint8_t {
  model,
  graph,
  node,
  attribute,
  tensor,
  entry,
  opset,
  value_info,
  type,
  tensor_type,
  shape,
  dimension,
  function,
  other
};

// Which fields of a message are messages themselves; every other field is skipped.
struct Child {
  Message parent;
  std::uint32_t field;
  Message child;
};
constexpr Child kChildren[] = {
    {Message::model, 7, Message::graph},       {Message::model, 8, Message::opset},
    {Message::model, 14, Message::entry},      {Message::model, 25, Message::function},
    {Message::graph, 1, Message::node},        {Message::graph, 5, Message::tensor},
    {Message::graph, 11, Message::value_info}, {Message::graph, 12, Message::value_info},
    {Message::graph, 15, Message::tensor},     {Message::node, 5, Message::attribute},
    {Message::attribute, 5, Message::tensor},  {Message::attribute, 6, Message::graph},
    {Message::attribute, 11, Message::graph},  {Message::tensor, 13, Message::entry},
    {Message::value_info, 2, Message::type},   {Message::type, 1, Message::tensor_type},
    {Message::tensor_type, 2, Message::shape}, {Message::shape, 1, Message::dimension},
};

Message child_of(Message parent, std::uint32_t field) {
  for (const Child& c : kChildren) {
    if (c.parent == parent && c.field == field) return c.child;
  }
  return Message::other;
}

// Repeated numbers: packed, each byte may become eight.
bool holds_varints(Message parent, std::uint32_t field) {
  return (parent == Message::tensor && (field == 1 || field == 5 || field == 7)) ||
         (parent == Message::attribute && field == 8);
}

// What is no field of the wire format.
struct Broken {
  const char* why;
};

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) throw Broken{"it ends within a number"};
    const auto byte = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw Broken{"a number has more than 64 bits"};
}

std::string_view take(std::string_view& bytes, std::uint64_t size) {
  if (size > bytes.size()) throw Broken{"it is cut short, or a length in it is wrong"};
  const std::string_view taken = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return taken;
}

struct Field {
  std::uint32_t number = 0;
  bool is_part = false;            // a message, a string or bytes; else a number
  std::string_view whole, inside;  // inside: of a part
};

Field take_field(std::string_view& bytes) {
  Field field;
  field.whole = bytes;
  const std::uint64_t tag = take_varint(bytes), number = tag >> 3;
  if (number == 0 || number > 0x1fffffff) throw Broken{"a field's number is out of range"};
  field.number = static_cast<std::uint32_t>(number);
  switch (tag & 7) {
    case 0:
      take_varint(bytes);
      break;
    case 1:
      take(bytes, 8);
      break;
    case 2:
      field.is_part = true;
      field.inside = take(bytes, take_varint(bytes));
      break;
    case 5:
      take(bytes, 4);
      break;
    default:
      throw Broken{"a field is of no known wire type"};
  }
  field.whole.remove_suffix(bytes.size());
  return field;
}

class Counter {
 public:
  Counter(std::string_view what, const WireLimits& limits) : what_(what), limits_(limits) {}

  void message(std::string_view bytes, Message kind, int depth) {
    if (depth > limits_.nesting) {
      throw usage_error("{} nests its messages more than {} deep; no exporter does", what_,
                        limits_.nesting);
    }
    while (!bytes.empty()) {
      const Field field = take_field(bytes);
      if (!field.is_part) {
        count_numbers(1);
        continue;
      }
      count(parts_, 1, limits_.parts, "parts");
      if (holds_varints(kind, field.number)) {
        count_numbers(static_cast<std::int64_t>(field.inside.size()));
      }
      const Message child = child_of(kind, field.number);
      if (child == Message::node) count(nodes_, 1, limits_.nodes, "nodes");
      if (child != Message::other) message(field.inside, child, depth + 1);
    }
  }

 private:
  void count_numbers(std::int64_t more) {
    count(numbers_, more, limits_.numbers, "numbers written one by one");
  }
  void count(std::int64_t& counter, std::int64_t more, std::int64_t most, const char* of_what) {
    counter += more;
    if (counter > most) throw usage_error("{} has more than {} {}", what_, most, of_what);
  }

  std::string_view what_;
  const WireLimits& limits_;
  std::int64_t nodes_ = 0, parts_ = 0, numbers_ = 0;
};

void append_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to.push_back(static_cast<char>(value | 0x80));
  to.push_back(static_cast<char>(value));
}

void append_without_raw(std::string& to, std::string_view bytes, Message kind,
                        std::vector<std::string_view>& raw) {
  constexpr std::size_t kMany = 4096;  // bytes
  while (!bytes.empty()) {
    const Field field = take_field(bytes);
    Message within = Message::other;
    if (field.is_part && kind == Message::model && field.number == 7) within = Message::graph;
    if (field.is_part && kind == Message::graph && field.number == 5) within = Message::tensor;
    if (within != Message::other) {
      if (within == Message::tensor) raw.emplace_back();
      std::string inside;
      append_without_raw(inside, field.inside, within, raw);
      append_varint(to, std::uint64_t{field.number} << 3 | 2);
      append_varint(to, inside.size());
      to += inside;
      continue;
    }
    const bool is_raw = kind == Message::tensor && field.is_part && field.number == 9;
    const bool is_cut = is_raw && field.inside.size() >= kMany;
    if (is_raw) raw.back() = is_cut ? field.inside : std::string_view();  // the last one holds
    if (!is_cut) to += field.whole;
  }
}

}  // namespace

std::string without_raw(std::string_view bytes, std::vector<std::string_view>& raw) {
  std::string rest;
  append_without_raw(rest, bytes, Message::model, raw);
  return rest;
}

void check_wire(std::string_view bytes, const std::string_view what, bool tensor,
                const WireLimits& limits) {
  try {
    Counter(what, limits).message(bytes, tensor ? Message::tensor : Message::model, 1);
  } catch (const Broken& broken) {
    throw usage_error("{} is no ONNX file: {}", what, broken.why);
  }
}

}  // namespace tapescope::onnx
