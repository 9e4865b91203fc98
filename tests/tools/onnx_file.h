// Makes ONNX files byte by byte, also such as no exporter would: the wire format is five cases.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope::onnx_file_making {

inline std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}
inline std::string whole(int field, std::int64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3) + varint(static_cast<std::uint64_t>(value));
}
inline std::string text(int field, std::string_view bytes) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(bytes.size()) +
         std::string(bytes);
}
inline std::string real(int field, float value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return varint(static_cast<std::uint64_t>(field) << 3 | 5) + bytes;
}

// A tensor whose numbers are in it, or whatever `rest` says of them.
inline std::string tensor(std::string_view name, const std::vector<std::int64_t>& dims, int type,
                          const std::string& rest) {
  std::string bytes;
  for (const std::int64_t extent : dims) bytes += whole(1, extent);
  return bytes + whole(2, type) + text(8, name) + rest;
}
template <class T>
std::string raw(const std::vector<T>& values) {
  return text(
      9, std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
}
inline std::string reals(std::string_view name, const std::vector<std::int64_t>& dims,
                         const std::vector<float>& values) {
  return tensor(name, dims, 1, raw(values));
}
inline std::string wholes(std::string_view name, const std::vector<std::int64_t>& values) {
  return tensor(name, {static_cast<std::int64_t>(values.size())}, 7, raw(values));
}
// Numbers in the file `location`.
inline std::string elsewhere(std::string_view location, const std::string& offset,
                             const std::string& length) {
  const auto entry = [](std::string_view key, std::string_view value) {
    return text(13, text(1, key) + text(2, value));
  };
  std::string rest = entry("location", location);
  if (!offset.empty()) rest += entry("offset", offset);
  if (!length.empty()) rest += entry("length", length);
  return rest + whole(14, 1);
}

// extents below 0 are names.
inline std::string port(std::string_view name, const std::vector<std::int64_t>& extents,
                        int type = 1) {
  std::string shape;
  for (const std::int64_t e : extents) shape += text(1, e < 0 ? text(2, "any") : whole(1, e));
  return text(1, name) + text(2, text(1, whole(1, type) + text(2, shape)));
}

inline std::string attribute_whole(std::string_view name, std::int64_t value) {
  return text(5, text(1, name) + whole(3, value) + whole(20, 2));
}
inline std::string attribute_wholes(std::string_view name,
                                    const std::vector<std::int64_t>& values) {
  std::string bytes = text(1, name);
  for (const std::int64_t value : values) bytes += whole(8, value);
  return text(5, bytes + whole(20, 7));
}
inline std::string attribute_text(std::string_view name, std::string_view value) {
  return text(5, text(1, name) + text(4, value) + whole(20, 3));
}
inline std::string node(std::string_view op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, const std::string& rest = "",
                        std::string_view name = "") {
  std::string bytes;
  for (const std::string& input : inputs) bytes += text(1, input);
  for (const std::string& output : outputs) bytes += text(2, output);
  return bytes + text(3, name.empty() ? op : name) + text(4, op) + rest;
}

struct Parts {
  std::vector<std::string> nodes, initialisers, inputs, outputs;
  std::int64_t opset = 17;
  std::string more = "";  // of the model
};
inline std::string model(const Parts& parts) {
  std::string graph;
  for (const std::string& n : parts.nodes) graph += text(1, n);
  for (const std::string& t : parts.initialisers) graph += text(5, t);
  for (const std::string& i : parts.inputs) graph += text(11, i);
  for (const std::string& o : parts.outputs) graph += text(12, o);
  return whole(1, 8) + text(7, graph) + text(8, whole(2, parts.opset)) + parts.more;
}
// One node from x {2, 3} to y.
inline std::string model_of(const std::string& node_bytes,
                            const std::vector<std::string>& initialisers = {},
                            std::int64_t opset = 17) {
  return model({{node_bytes}, initialisers, {port("x", {2, 3})}, {port("y", {})}, opset});
}

}  // namespace tapescope::onnx_file_making
