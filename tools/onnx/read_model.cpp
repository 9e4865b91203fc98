// From the file format to a Graph; the only file that knows protobuf.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "engine/thread_pool.h"
#include "onnx/onnx.pb.h"
#include "tools/files/half.h"
#include "tools/files/text_file.h"
#include "tools/onnx/external_data.h"
#include "tools/onnx/graph.h"
#include "tools/onnx/wire.h"

namespace tapescope::onnx {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostElements = std::int64_t{1} << 48;
constexpr int kMostAxes = 8;
constexpr std::int64_t kPiece = std::int64_t{1} << 20;  // bytes a thread copies at a time
constexpr std::int64_t kLarge = 64;  // elements whose numbers a kept file goes without

// Its bytes, u8, in a block of the allocator: the first touch of large ones is cheaper there.
Tensor read_bytes(const fs::path& path) {
  const std::string name = shown(path.string());
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info = {};
  if (file < 0 || ::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    const int why = errno;
    if (file >= 0) ::close(file);
    throw usage_error("'{}' cannot be read: {}", name,
                      file < 0 ? std::strerror(why) : "it is no file");
  }
  if (info.st_size > std::numeric_limits<std::int32_t>::max()) {
    ::close(file);
    throw usage_error(
        "'{}' has {} bytes; an ONNX file has at most 2^31 - 1, larger weights lie in files beside "
        "it",
        name, info.st_size);
  }
  Tensor bytes({DType::u8, {info.st_size}}, Device::cpu(), Purpose::data, "ONNX file");
  std::atomic<bool> all{true};
  parallel_ranges(info.st_size, kPiece, [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const auto left = static_cast<std::size_t>(end - begin);
      const ssize_t got = ::pread(file, static_cast<char*>(bytes.data()) + begin, left, begin);
      if (got <= 0) {
        all = false;
        return;
      }
      begin += got;
    }
  });
  ::close(file);
  if (!all) throw usage_error("'{}' cannot be read to its end", name);
  return bytes;
}
std::string_view text_of(const Tensor& bytes) {
  return {static_cast<const char*>(bytes.data()), bytes.bytes()};
}

float bf16_to_float(std::uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}

std::int64_t stored_size(Element element) {
  switch (element) {
    case Element::f64:
    case Element::i64:
      return 8;
    case Element::f16:
    case Element::bf16:
      return 2;
    case Element::u8:
    case Element::boolean:
      return 1;
    default:
      return 4;
  }
}

template <class From, class To>
void convert(const char* raw, Tensor& to, To (*of)(From)) {
  for (To& value : to.values<To>()) {
    From from;
    std::memcpy(&from, raw, sizeof from);
    raw += sizeof from;
    value = of(from);
  }
}

// `raw` holds as many elements as `to` has.
void from_raw(Element element, const char* raw, Tensor& to) {
  switch (element) {
    case Element::f16:
      return convert<std::uint16_t, float>(raw, to, from_half);
    case Element::bf16:
      return convert<std::uint16_t, float>(raw, to, bf16_to_float);
    case Element::i32:
      return convert<std::int32_t, std::int64_t>(raw, to,
                                                 [](std::int32_t v) { return std::int64_t{v}; });
    case Element::u8:
      return convert<std::uint8_t, std::int64_t>(raw, to,
                                                 [](std::uint8_t v) { return std::int64_t{v}; });
    case Element::boolean:
      return convert<std::uint8_t, std::int64_t>(
          raw, to, [](std::uint8_t v) { return std::int64_t{v != 0}; });
    default:
      parallel_ranges(static_cast<std::int64_t>(to.bytes()), kPiece,
                      [&](std::int64_t begin, std::int64_t end) {
                        std::memcpy(static_cast<char*>(to.data()) + begin, raw + begin,
                                    static_cast<std::size_t>(end - begin));
                      });
  }
}

std::string bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.data()), tensor.bytes()};
}
void drop_numbers(onnx_file::Tensor& tensor) {
  tensor.clear_raw_data();
  tensor.clear_float_data();
  tensor.clear_double_data();
  tensor.clear_int32_data();
  tensor.clear_int64_data();
  tensor.clear_external_data();
  tensor.clear_data_location();
}
bool is_large(const onnx_file::Tensor& tensor, const Known& known) {
  const auto element = static_cast<Element>(tensor.data_type());
  return (element == Element::f32 || element == Element::f64) && known.elements() >= kLarge;
}

// From the fields that are there for tensors without raw bytes.
void from_fields(const std::string& what, Element element, const onnx_file::Tensor& tensor,
                 Tensor& to) {
  const auto expect = [&](int have) {
    if (have == to.elements()) return;
    throw usage_error("{} has {} numbers, but shape {} has {}", what, have, to_string(to.shape()),
                      to.elements());
  };
  const auto fill = [&](auto values, const auto& from, auto of) {
    expect(from.size());
    for (int i = 0; i < from.size(); ++i) values[static_cast<std::size_t>(i)] = of(from.Get(i));
  };
  switch (element) {
    case Element::f32:
      return fill(to.values<float>(), tensor.float_data(), [](float v) { return v; });
    case Element::f64:
      return fill(to.values<double>(), tensor.double_data(), [](double v) { return v; });
    case Element::i64:
      return fill(to.values<std::int64_t>(), tensor.int64_data(), [](std::int64_t v) { return v; });
    case Element::f16:
      return fill(to.values<float>(), tensor.int32_data(),
                  [](std::int32_t v) { return from_half(static_cast<std::uint16_t>(v)); });
    case Element::bf16:
      return fill(to.values<float>(), tensor.int32_data(),
                  [](std::int32_t v) { return bf16_to_float(static_cast<std::uint16_t>(v)); });
    default:
      return fill(to.values<std::int64_t>(), tensor.int32_data(),
                  [](std::int32_t v) { return std::int64_t{v}; });
  }
}

struct Place {
  std::string location;
  std::int64_t offset = 0, length = -1;
};

Place place_of(const std::string& what, const onnx_file::Tensor& tensor) {
  Place place;
  for (const onnx_file::Entry& entry : tensor.external_data()) {
    if (entry.key() == "location") place.location = entry.value();
    std::int64_t* number = entry.key() == "offset"   ? &place.offset
                           : entry.key() == "length" ? &place.length
                                                     : nullptr;
    if (number == nullptr) continue;
    const std::string& text = entry.value();
    const bool whole = !text.empty() && text.size() < 19 &&
                       text.find_first_not_of("0123456789") == std::string::npos;
    if (!whole) {
      throw usage_error("{} has the {} '{}' in its file, which is no number of bytes", what,
                        entry.key(), shown(text));
    }
    *number = std::stoll(text);
  }
  return place;
}

class ModelReader {
 public:
  ModelReader(const fs::path& path, const ReadOptions& options)
      : files_(path.parent_path(), options.allow_outside), room_(options.room) {}

  // An initialiser, and what a kept file holds of it.
  KnownRef kept(const std::string& what, onnx_file::Tensor& tensor, std::string_view raw) {
    const bool outside = tensor.data_location() == 1;
    KnownRef result = known(what, tensor, raw);
    if (is_large(tensor, *result)) {
      drop_numbers(tensor);
    } else if (outside) {
      const bool same = outside_.empty();
      drop_numbers(tensor);
      tensor.set_raw_data(same ? bytes_of(result->numbers) : outside_);
    } else if (!raw.empty()) {
      tensor.set_raw_data(raw.data(), raw.size());
    }
    return result;
  }

  // `raw`: the tensor's raw bytes where the message goes without them.
  KnownRef known(const std::string& what, const onnx_file::Tensor& tensor,
                 std::string_view raw = {}) {
    const bool is_raw = tensor.has_raw_data() || !raw.empty();
    if (raw.empty()) raw = tensor.raw_data();
    const auto element = static_cast<Element>(tensor.data_type());
    const Type type{held_in(element, what), shape_of(what, tensor)};
    auto known = std::make_shared<Known>(Known{element, {}});
    const std::int64_t bytes = type.elements() * stored_size(element);
    outside_.clear();
    if (is_floating(element) && type.elements() > 0 && type.elements() <= room_ && !is_raw &&
        has_no_numbers(tensor)) {
      room_ -= type.elements();
      known->numbers = Tensor::full(type, 0);
    } else if (tensor.data_location() == 1) {
      const Place place = place_of(what, tensor);
      const std::int64_t length = files_.check(what, place.location, place.offset, place.length);
      expect_bytes(what, type, length, bytes);
      known->numbers = Tensor(type);
      if (stored_size(element) == static_cast<std::int64_t>(size_of(type.dtype))) {
        files_.read(what, place.location, place.offset, length, known->numbers.data());
      } else {
        outside_.assign(static_cast<std::size_t>(length), '\0');
        files_.read(what, place.location, place.offset, length, outside_.data());
        from_raw(element, outside_.data(), known->numbers);
      }
    } else if (is_raw) {
      expect_bytes(what, type, static_cast<std::int64_t>(raw.size()), bytes);
      known->numbers = Tensor(type);
      from_raw(element, raw.data(), known->numbers);
    } else {
      const int have = tensor.float_data_size() + tensor.double_data_size() +
                       tensor.int32_data_size() + tensor.int64_data_size();
      if (have < type.elements()) {
        throw usage_error("{} has {} numbers, but shape {} has {}", what, have,
                          to_string(type.shape), type.elements());
      }
      known->numbers = Tensor(type);
      from_fields(what, element, tensor, known->numbers);
    }
    return known;
  }

  Node node(const onnx_file::Node& from, std::size_t index) {
    Node node;
    node.op = from.op_type();
    node.domain = from.domain() == "ai.onnx" ? "" : from.domain();
    node.name = from.name().empty() ? fmt::format("{}_{}", node.op, index) : from.name();
    node.inputs.assign(from.input().begin(), from.input().end());
    node.outputs.assign(from.output().begin(), from.output().end());
    for (const onnx_file::Attribute& a : from.attribute()) {
      Attribute to;
      to.kind = a.type();
      to.i = a.i();
      to.f = a.f();
      to.s = a.s();
      to.ints.assign(a.ints().begin(), a.ints().end());
      to.floats.assign(a.floats().begin(), a.floats().end());
      if (a.has_t()) {
        to.tensor = known(fmt::format("the tensor of node '{}'", shown(node.name)), a.t());
      }
      node.attributes.insert_or_assign(a.name(), std::move(to));
    }
    return node;
  }

 private:
  static bool has_no_numbers(const onnx_file::Tensor& tensor) {
    return tensor.data_location() == 0 && tensor.float_data_size() == 0 &&
           tensor.double_data_size() == 0 && tensor.int32_data_size() == 0;
  }
  static Shape shape_of(const std::string& what, const onnx_file::Tensor& tensor) {
    std::int64_t elements = 1;
    bool fits = tensor.dims_size() <= kMostAxes;
    for (const std::int64_t extent : tensor.dims()) {
      fits = fits && extent >= 0 && !__builtin_mul_overflow(elements, extent, &elements) &&
             elements <= kMostElements;
    }
    if (!fits) {
      throw usage_error(
          "{} has an impossible shape: more than {} axes, a negative one, or more "
          "than 2^48 elements",
          what, kMostAxes);
    }
    if (tensor.dims_size() > Shape::kMaxRank) {
      throw usage_error("{} has {} axes; at most {} are read", what, tensor.dims_size(),
                        Shape::kMaxRank);
    }
    return Shape(std::span<const std::int64_t>(tensor.dims().data(),
                                               static_cast<std::size_t>(tensor.dims_size())));
  }
  static void expect_bytes(const std::string& what, const Type& type, std::int64_t have,
                           std::int64_t wanted) {
    if (have == wanted) return;
    throw usage_error("{} has {} bytes, but shape {} needs {}", what, have, to_string(type.shape),
                      wanted);
  }
  ExternalFiles files_;
  std::int64_t room_;
  std::string outside_;  // bytes of the tensor read last, where it lay in another file as others
};

Port port_of(const onnx_file::ValueInfo& from) {
  Port port;
  port.name = from.name();
  if (!from.type().has_tensor_type()) {
    port.type = static_cast<Element>(0);
    return port;
  }
  const onnx_file::TensorType& type = from.type().tensor_type();
  port.type = static_cast<Element>(type.elem_type());
  port.ranked = type.has_shape();
  for (const onnx_file::Dimension& d : type.shape().dim()) {
    port.extents.push_back(d.has_dim_value() && d.dim_value() >= 0 ? d.dim_value() : -1);
  }
  return port;
}

void take_opset(Graph& graph, const onnx_file::Model& model, const std::string& name,
                std::int64_t oldest) {
  for (const onnx_file::Opset& opset : model.opset_import()) {
    if (opset.domain().empty() || opset.domain() == "ai.onnx") graph.opset = opset.version();
  }
  if (graph.opset >= oldest && graph.opset <= kNewestOpset) return;
  throw usage_error(
      "'{}' is written in operator set {}; read are {} to {}: export it with "
      "opset_version={}",
      name, graph.opset, kOldestOpset, kNewestOpset, graph.opset > kNewestOpset ? 20 : 17);
}

void refuse_functions(const onnx_file::Model& model, const Graph& graph) {
  std::set<std::pair<std::string, std::string>> defined;
  for (const onnx_file::Function& f : model.functions()) defined.emplace(f.domain(), f.name());
  for (const Node& node : graph.nodes) {
    if (!defined.contains({node.domain, node.op})) continue;
    throw usage_error(
        "node '{}' is a function '{}' that the model defines itself, which is not read; write the "
        "model with onnx.inliner.inline_local_functions",
        shown(node.name), shown(node.op));
  }
}

// `raw`: of each initialiser, where the message goes without it.
void take_graph(Graph& graph, onnx_file::Model& model, const std::vector<std::string_view>& raw,
                ModelReader& reader, bool keep) {
  onnx_file::Graph& from = *model.mutable_graph();
  if (from.sparse_initializer_size() > 0) {
    throw usage_error("'{}' has sparse initialisers, which are not read",
                      shown(graph.path.string()));
  }
  for (int i = 0; i < from.initializer_size(); ++i) {
    onnx_file::Tensor& tensor = *from.mutable_initializer(i);
    const std::string_view its = raw[static_cast<std::size_t>(i)];
    const std::string what = fmt::format("the initialiser '{}'", shown(tensor.name()));
    KnownRef known = keep ? reader.kept(what, tensor, its) : reader.known(what, tensor, its);
    if (!graph.initialisers.emplace(tensor.name(), std::move(known)).second) {
      throw usage_error("{} is there twice", what);
    }
  }
  for (int n = 0; n < from.node_size(); ++n) {
    graph.nodes.push_back(reader.node(from.node(n), static_cast<std::size_t>(n)));
  }
  for (const onnx_file::ValueInfo& input : from.input()) {
    // Old files list their initialisers among the inputs.
    if (!graph.initialisers.contains(input.name())) graph.inputs.push_back(port_of(input));
  }
  for (const onnx_file::ValueInfo& output : from.output()) {
    graph.outputs.push_back(port_of(output));
  }
}

}  // namespace

Graph parse_graph(std::string_view bytes, const fs::path& path, const ReadOptions& options) {
  const std::string name = shown(path.string());
  check_wire(bytes, fmt::format("'{}'", name));
  std::vector<std::string_view> raw;
  onnx_file::Model model;
  if (!model.ParseFromString(without_raw(bytes, raw)) || !model.has_graph()) {
    throw usage_error("'{}' is no ONNX file: it holds no graph", name);
  }
  Graph graph;
  graph.path = path;
  graph.ir_version = model.ir_version();
  graph.producer = model.producer_name() + (model.producer_version().empty() ? "" : " ") +
                   model.producer_version();
  take_opset(graph, model, name, options.oldest);
  for (const onnx_file::Entry& e : model.metadata_props()) graph.metadata[e.key()] = e.value();
  ModelReader reader(path, options);
  take_graph(graph, model, raw, reader, options.keep);
  refuse_functions(model, graph);
  check_order(graph);
  if (options.keep) graph.file = model.SerializeAsString();
  return graph;
}

Graph read_graph(const fs::path& path, const ReadOptions& options) {
  Graph graph = parse_graph(text_of(read_bytes(path)), path, options);
  Allocator::of(Device::cpu()).trim();  // the file's bytes: nothing else is so large
  return graph;
}

std::string written(const Graph& graph,
                    const std::function<bool(const std::string& name)>& elsewhere) {
  onnx_file::Model model;
  if (graph.file.empty() || !model.ParseFromString(graph.file)) {
    throw failure("'{}' was not kept", shown(graph.path.string()));
  }
  for (onnx_file::Tensor& tensor : *model.mutable_graph()->mutable_initializer()) {
    const Known& known = *graph.initialisers.at(tensor.name());
    tensor.clear_dims();
    for (const std::int64_t extent : known.shape()) tensor.add_dims(extent);
    if (elsewhere(tensor.name())) {
      drop_numbers(tensor);
    } else if (is_large(tensor, known)) {
      tensor.set_raw_data(bytes_of(known.numbers));
    }
  }
  return model.SerializeAsString();
}

std::string protobuf_version() {
  return "protobuf " + google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION);
}

KnownRef read_tensor(const fs::path& path) {
  const Tensor file = read_bytes(path);
  const std::string_view bytes = text_of(file);
  const std::string what = fmt::format("'{}'", shown(path.string()));
  check_wire(bytes, what, true);
  onnx_file::Tensor tensor;
  if (!tensor.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    throw usage_error("{} holds no tensor", what);
  return ModelReader(path, {}).known(what, tensor);
}

}  // namespace tapescope::onnx
