// An ONNX graph as it was read: nodes by the names of their values. Knows nothing of the file
// format and nothing of the tape.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tensor.h"

namespace tapescope::onnx {

// The format's element types, by its numbers.
enum class Element : std::int32_t {
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  text = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  bf16 = 16,
};
std::string name_of(Element element);  // "float16"
inline bool is_floating(Element e) {
  return e == Element::f32 || e == Element::f64 || e == Element::f16 || e == Element::bf16;
}
// What its numbers are held in: f32, f64, or i64 for every whole number and truth value. f16 and
// bf16 become f32. Throws a usage error that begins with `what` for types that are not read.
DType held_in(Element element, const std::string& what);

// Numbers that are known before anything runs: an initialiser, or what became of some. Where the
// batch size is among them, element i is batch[i] * N + numbers[i].
struct Known {
  Element type = Element::f32;
  Tensor numbers;                        // on the host, ONNX's axes, in a dtype of held_in()
  std::vector<std::int64_t> batch = {};  // empty: no element depends on N

  const Shape& shape() const { return numbers.shape(); }
  std::int64_t elements() const { return numbers.elements(); }
};
using KnownRef = std::shared_ptr<const Known>;

struct Attribute {
  int kind = 0;  // the format's number of its type; 0: not said
  std::int64_t i = 0;
  float f = 0;
  std::string s;
  std::vector<std::int64_t> ints;
  std::vector<float> floats;
  KnownRef tensor;
};

struct Node {
  std::string name, op, domain;              // name: never empty once read
  std::vector<std::string> inputs, outputs;  // "": left out
  std::map<std::string, Attribute> attributes;
};

// A value that the graph asks for or answers.
struct Port {
  std::string name;
  Element type = Element::f32;
  // -1: not said, or a name.
  std::vector<std::int64_t> extents;
  bool ranked = false;  // whether the axes are known at all
};

struct Graph {
  std::filesystem::path path;
  std::string producer;  // "pytorch 2.9.1"
  std::int64_t ir_version = 0, opset = 0;
  std::vector<Node> nodes;  // each after those it reads
  std::unordered_map<std::string, KnownRef> initialisers;
  std::vector<Port> inputs;  // without initialisers
  std::vector<Port> outputs;
  std::map<std::string, std::string> metadata;
  std::string file;  // see ReadOptions::keep
};

// Whether what is named as a model is such a file: "net.onnx", and no folder of that name.
bool names_onnx(const std::string& model);

inline constexpr std::int64_t kOldestOpset = 7, kNewestOpset = 26;

struct ReadOptions {
  // Whether links beside the model are followed, and names in the file may lead out of its folder.
  bool allow_outside = false;
  // The first operator set that is taken: single ops of sets before 7 are often the same.
  std::int64_t oldest = kOldestOpset;
  // Whether the file is kept, for written(): without the numbers of large floating initialisers.
  bool keep = false;
  // Floating initialisers without their numbers are zeros of their shape, so many numbers at most.
  std::int64_t room = 0;
};

// Reads a model file, its external data from beneath the file's folder. Throws a usage error in one
// sentence for whatever is wrong: no ONNX file, beyond the limits of wire.h, an operator set that
// is too new, types that are not read, external data that is not where it may be or not as long as
// it must be, two values of one name, a value that no node gives, nodes out of order. Never
// crashes, whatever the bytes.
Graph read_graph(const std::filesystem::path& path, const ReadOptions& options = {});
// "protobuf 3.21.12"; empty where this build has none.
std::string protobuf_version();
// The same of a model's bytes; external data lies beneath `path`'s folder.
Graph parse_graph(std::string_view bytes, const std::filesystem::path& path,
                  const ReadOptions& options = {});
// The bytes of a model file of a graph that was kept, with its initialisers as they are now:
// without the numbers of those that lie `elsewhere`.
std::string written(const Graph& graph,
                    const std::function<bool(const std::string& name)>& elsewhere);
// A single tensor in a file of its own (.pb), as the format's test suite keeps them.
KnownRef read_tensor(const std::filesystem::path& path);

// The node that gives each value, as long as no node is added or taken away.
class Givers {
 public:
  explicit Givers(const Graph& graph);
  // Null of inputs and initialisers.
  const Node* of(const std::string& value) const;

 private:
  const Graph& graph_;
  std::unordered_map<std::string, std::size_t> of_;
};

// Whether a node gives the numbers of its first input, as they are and in their order.
bool keeps_numbers(const Node& node);

// Throws where a value is given twice, or read before a node or initialiser gives it.
void check_order(const Graph& graph);
// Whether node i is needed for the graph's outputs.
std::vector<bool> needed_nodes(const Graph& graph);

}  // namespace tapescope::onnx
