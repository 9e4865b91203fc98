#include "tools/training/torch_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

using Value = Pickle::Value;
using Ref = Pickle::Ref;
using Kind = Pickle::Kind;

// A dtype by the storage's class and by torch's own name.
struct TorchType {
  const char *storage, *torch, *name;
  std::size_t bytes;
};
constexpr TorchType kTorchTypes[] = {
    {"FloatStorage", "float32", "F32", 4},  {"DoubleStorage", "float64", "F64", 8},
    {"HalfStorage", "float16", "F16", 2},   {"BFloat16Storage", "bfloat16", "BF16", 2},
    {"LongStorage", "int64", "I64", 8},     {"IntStorage", "int32", "I32", 4},
    {"ShortStorage", "int16", "I16", 2},    {"CharStorage", "int8", "I8", 1},
    {"ByteStorage", "uint8", "U8", 1},      {"BoolStorage", "bool", "BOOL", 1},
    {"UntypedStorage", "untyped", "U8", 1},
};

constexpr const char* kExport =
    "in Python: torch.save(model.state_dict(), \"weights.pth\"), and give that file";

std::string last_word(const std::string& name) { return name.substr(name.rfind('.') + 1); }

class TensorWalk {
 public:
  TensorWalk(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  TorchTensors run() {
    Ref from = unwrapped(pickle_.root());
    if (tensor_of(from, 0)) {
      walk(from, "tensor", 0);
    } else {
      walk(from, "", 0);
    }
    if (result_.tensors.empty()) {
      throw usage_error("{}: holds no tensors: it is {}; {}", file_, described(from), kExport);
    }
    tell_others();
    return std::move(result_);
  }

  std::vector<TorchStorage> storages() const {
    std::vector<TorchStorage> all;
    std::set<std::string> seen;
    for (Ref ref = 0; ref < pickle_.values(); ++ref) {
      if (pickle_[ref].kind != Kind::persistent) continue;
      const TorchTensor tensor = storage_of(pickle_[ref]);
      if (!seen.insert(tensor.storage).second) continue;
      all.push_back({tensor.storage, tensor.elements, tensor.element});
    }
    return all;
  }

 private:
  static constexpr int kMostDepth = 64;
  static constexpr std::size_t kMostTensors = 200'000, kMostVisits = 2'000'000, kMostName = 1000;

  template <class... Args>
  [[noreturn]] void bad(fmt::format_string<Args...> text, Args&&... args) const {
    throw usage_error("{}: {}; the file is damaged or no model's weights", file_,
                      fmt::format(text, std::forward<Args>(args)...));
  }

  // The text of a global, "" of anything else.
  const std::string& global(Ref ref) const {
    static const std::string none;
    return pickle_[ref].kind == Kind::global ? pickle_[ref].text : none;
  }
  // "torch.float16" and "torch.HalfStorage" as a dtype.
  static void set_dtype(TorchTensor& tensor, const std::string& name) {
    const std::string word = last_word(name);
    tensor.dtype = printable(name);
    tensor.element = 0;
    for (const TorchType& type : kTorchTypes) {
      if (word != type.storage && word != type.torch) continue;
      tensor.dtype = type.name;
      tensor.element = type.bytes;
    }
  }

  // ('storage', torch.FloatStorage, '0', 'cpu', 12) and, in old files, where it views another.
  TorchTensor storage_of(const Value& persistent) const {
    TorchTensor tensor;
    const Value& id = pickle_[persistent.items[0]];
    if (id.kind != Kind::list || id.items.size() < 5) bad("names a storage as nobody does");
    const Value &kind = pickle_[id.items[0]], &key = pickle_[id.items[2]],
                &count = pickle_[id.items[4]];
    if (kind.kind != Kind::text || kind.text != "storage" || key.kind != Kind::text ||
        global(id.items[1]).empty() || count.kind != Kind::integer || count.integer < 0 ||
        count.integer > std::int64_t{1} << 48) {
      bad("names a storage as nobody does");
    }
    if (id.items.size() > 5 && pickle_[id.items[5]].kind != Kind::none) {
      bad("has a storage that views another one, as PyTorch wrote before version 0.4");
    }
    set_dtype(tensor, global(id.items[1]));
    tensor.storage = key.text;
    tensor.elements = static_cast<std::uint64_t>(count.integer);
    return tensor;
  }

  std::vector<std::int64_t> whole_numbers(Ref ref) const {
    const Value* list = &pickle_[ref];
    if (list->kind == Kind::object && global(list->callable) == "torch.Size" &&
        pickle_[list->arguments].items.size() == 1) {
      list = &pickle_[pickle_[list->arguments].items[0]];
    }
    if (list->kind != Kind::list) bad("has a tensor whose shape or stride is no tuple");
    constexpr std::size_t kMostAxes = 64;
    if (list->items.size() > kMostAxes) {
      bad("has a tensor of {} axes; up to {} are possible", list->items.size(), kMostAxes);
    }
    std::vector<std::int64_t> numbers;
    for (const Ref item : list->items) {
      if (pickle_[item].kind != Kind::integer || !pickle_[item].text.empty() ||
          pickle_[item].integer < 0) {
        bad("has a tensor whose shape or stride is not of whole numbers from 0");
      }
      numbers.push_back(pickle_[item].integer);
    }
    return numbers;
  }

  // Every element within the storage; shapes multiply to no more than 2^48.
  void check(const TorchTensor& tensor) const {
    const auto shown =
        fmt::format("has a tensor of shape {{{}}}, strides {{{}}} and offset {}",
                    fmt::join(tensor.shape, ", "), fmt::join(tensor.stride, ", "), tensor.offset);
    if (tensor.shape.size() != tensor.stride.size()) bad("{}, which do not fit together", shown);
    constexpr std::uint64_t kMost = std::uint64_t{1} << 48;
    std::uint64_t count = 1, product = 1, last = tensor.offset;
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
      const auto extent = static_cast<std::uint64_t>(tensor.shape[axis]);
      std::uint64_t reach = 0;
      if (__builtin_mul_overflow(product, std::max<std::uint64_t>(extent, 1), &product) ||
          product > kMost) {
        bad("{}, which is impossible", shown);
      }
      count *= extent;
      if (extent == 0) continue;
      if (__builtin_mul_overflow(extent - 1, static_cast<std::uint64_t>(tensor.stride[axis]),
                                 &reach) ||
          __builtin_add_overflow(last, reach, &last)) {
        bad("{}, which is impossible", shown);
      }
    }
    if (count > 0 && last >= tensor.elements) {
      bad("{}, which leaves its storage of {} elements", shown, tensor.elements);
    }
  }

  // torch._utils' functions that make a tensor of a storage.
  std::optional<TorchTensor> rebuilt(const std::string& function, Ref with, int depth) const {
    const std::vector<Ref>& arguments = pickle_[with].items;
    if (pickle_[with].kind != Kind::list) return {};
    if (function == "torch._utils._rebuild_parameter" ||
        function == "torch._utils._rebuild_parameter_with_state") {
      if (arguments.empty()) bad("has a parameter without a tensor");
      return tensor_of(arguments[0], depth + 1);
    }
    if (function == "torch._tensor._rebuild_from_type_v2") {
      if (arguments.size() < 3) bad("has a tensor of no type");
      return rebuilt(global(arguments[0]), arguments[2], depth + 1);
    }
    const bool with_dtype = function == "torch._utils._rebuild_tensor_v3";
    if (!with_dtype && function != "torch._utils._rebuild_tensor_v2" &&
        function != "torch._utils._rebuild_tensor") {
      return {};
    }
    if (arguments.size() < (with_dtype ? 7 : 4) || pickle_[arguments[0]].kind != Kind::persistent ||
        pickle_[arguments[1]].kind != Kind::integer || !pickle_[arguments[1]].text.empty()) {
      bad("has a tensor that is made of no storage");
    }
    // Views that PyTorch negates or conjugates when they are read: {"neg": True}.
    const std::size_t about = with_dtype ? 7 : 6;
    if (arguments.size() > about && pickle_[arguments[about]].kind == Kind::dict &&
        !pickle_[arguments[about]].items.empty()) {
      return {};
    }
    TorchTensor tensor = storage_of(pickle_[arguments[0]]);
    if (with_dtype) {
      const std::uint64_t bytes = tensor.elements * tensor.element;
      set_dtype(tensor, global(arguments[6]));
      tensor.elements = bytes / std::max<std::size_t>(tensor.element, 1);
    }
    if (pickle_[arguments[1]].integer < 0) {
      bad("has a tensor at offset {} of its storage", pickle_[arguments[1]].integer);
    }
    tensor.offset = static_cast<std::uint64_t>(pickle_[arguments[1]].integer);
    tensor.shape = whole_numbers(arguments[2]);
    tensor.stride = whole_numbers(arguments[3]);
    check(tensor);
    return tensor;
  }
  std::optional<TorchTensor> tensor_of(Ref ref, int depth) const {
    const Value& value = pickle_[ref];
    if (value.kind != Kind::object || depth > 8) return {};
    return rebuilt(global(value.callable), value.arguments, depth);
  }

  // Pairs of a dict, of an OrderedDict however it was filled; empty of anything else.
  std::vector<std::pair<Ref, Ref>> pairs_of(const Value& value) const {
    std::vector<std::pair<Ref, Ref>> pairs;
    const std::string& made = value.kind == Kind::object ? global(value.callable) : file_;
    const bool ordered = value.kind == Kind::object &&
                         (made == "collections.OrderedDict" || made == "collections.defaultdict");
    if (value.kind != Kind::dict && !ordered) return pairs;
    for (std::size_t i = 0; i + 1 < value.items.size(); i += 2) {
      pairs.emplace_back(value.items[i], value.items[i + 1]);
    }
    // OrderedDict([[key, value], ...]), as Python 2 has it.
    if (const Value& with = pickle_[value.arguments]; ordered && with.items.size() == 1) {
      for (const Ref item : pickle_[with.items[0]].items) {
        const Value& pair = pickle_[item];
        if (pair.kind == Kind::list && pair.items.size() == 2) {
          pairs.emplace_back(pair.items[0], pair.items[1]);
        }
      }
    }
    return pairs;
  }

  // An object's attributes: its state, or the first of (state, slots).
  Ref attributes_of(const Value& object) const {
    const Value& state = pickle_[object.state];
    if (state.kind == Kind::list && !state.items.empty()) return state.items[0];
    return object.state;
  }

  std::string key_of(Ref ref) const {
    const Value& key = pickle_[ref];
    if (key.kind == Kind::text) return key.text;
    return key.kind == Kind::integer ? std::to_string(key.integer) : "";
  }

  void walk_pairs(const Value& dict, const std::string& prefix, int depth) {
    for (const auto& [key, value] : pairs_of(dict)) {
      const std::string word = key_of(key);
      if (!word.empty()) walk(value, prefix.empty() ? word : prefix + "." + word, depth + 1);
    }
  }

  // Adds every tensor at or below `ref`.
  void walk(Ref ref, const std::string& name, int depth) {
    if (depth > kMostDepth) bad("nests more than {} levels deep", kMostDepth);
    if (++visits_ > kMostVisits) bad("has the same parts again and again");
    if (name.size() > kMostName) bad("has a name of more than {} characters", kMostName);
    if (std::optional<TorchTensor> tensor = tensor_of(ref, 0)) {
      if (result_.tensors.size() == kMostTensors) bad("has more than {} tensors", kMostTensors);
      tensor->name = name;
      result_.tensors.push_back(std::move(*tensor));
      return;
    }
    const Value& value = pickle_[ref];
    if (value.kind == Kind::list) {
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        walk(value.items[i], fmt::format("{}{}{}", name, name.empty() ? "" : ".", i), depth + 1);
      }
    } else if (value.kind == Kind::object && global(value.callable).starts_with("torch._utils.")) {
      others_.emplace(name, global(value.callable));
    } else {
      walk_pairs(value, name, depth);
      if (value.kind == Kind::object) walk_module(value, name, depth);
    }
  }

  void walk_module(const Value& object, const std::string& name, int depth) {
    const Value& state = pickle_[attributes_of(object)];
    if (pickle_.find(state, "_modules") != nullptr) {
      if (name.empty()) module_ = global(object.callable);
      for (const char* part : {"_parameters", "_buffers", "_modules"}) {
        if (const Value* members = pickle_.find(state, part)) walk_pairs(*members, name, depth);
      }
    } else if (global(object.callable).starts_with("__torch__.")) {  // TorchScript
      walk_pairs(state, name, depth);
    }
  }

  bool holds_tensors(Ref ref) {
    TensorWalk below(pickle_, file_);
    below.walk(ref, "", 0);
    return !below.result_.tensors.empty();
  }

  // What of a checkpoint are the weights: moving averages of them where there are some, since these
  // are what was meant to be used.
  Ref unwrapped(Ref ref) {
    constexpr const char* kKeys[] = {
        "model_ema",  "state_dict_ema",   "ema_state_dict", "ema",    "params_ema",
        "state_dict", "model_state_dict", "model",          "module", "net",
        "network",    "params",           "weights"};
    std::string path;
    for (int level = 0; level < 4; ++level) {
      std::vector<std::pair<std::string, Ref>> held;
      const auto pairs = pairs_of(pickle_[ref]);
      for (const char* wanted : kKeys) {
        for (const auto& [key, value] : pairs) {
          if (key_of(key) != wanted || tensor_of(value, 0) || !holds_tensors(value)) continue;
          held.emplace_back(wanted, value);
        }
      }
      if (held.empty()) break;
      ref = held[0].second;
      path += (path.empty() ? "" : ".") + held[0].first;
      for (std::size_t i = 1; i < held.size(); ++i) {
        result_.notices.push_back(
            fmt::format("weights: '{}' of the file is taken, not '{}'", path, held[i].first));
      }
    }
    return ref;
  }

  void tell_others() {
    if (!module_.empty()) {
      result_.notices.push_back(fmt::format(
          "weights: the file is a pickled {}: its parameters and buffers are read, its code is not",
          shown(module_)));
    }
    if (!others_.empty()) {
      const auto& [name, kind] = *others_.begin();
      result_.notices.push_back(fmt::format(
          "weights: not read, since it is no plain tensor: '{}' ({}){}", shown(name), shown(kind),
          others_.size() > 1 ? fmt::format(", and {} more", others_.size() - 1) : ""));
    }
    // What would run code in Python.
    for (Ref ref = 0; ref < pickle_.values(); ++ref) {
      const std::string& name = global(ref);
      for (const char* module : {"os.", "posix.", "nt.", "subprocess.", "sys.", "runpy.", "socket.",
                                 "builtins.eval", "builtins.exec", "builtins.__import__",
                                 "builtins.getattr", "__builtin__.eval", "__builtin__.exec"}) {
        if (!name.starts_with(module)) continue;
        result_.notices.push_back(fmt::format(
            "weights: the file names {}, which would run code in Python; nothing was run here",
            shown(name)));
        return;
      }
    }
  }

  static std::string shown(const std::string& name) { return printable(name.substr(0, 100)); }

  std::string described(Ref ref) const {
    const Value& value = pickle_[ref];
    if (value.kind == Kind::object && !global(value.callable).empty() && pairs_of(value).empty()) {
      return fmt::format("a pickled {}, which only its own code can open",
                         shown(global(value.callable)));
    }
    std::string keys;
    for (const auto& [key, item] : pairs_of(value)) {
      if (keys.size() > 60) break;
      keys += (keys.empty() ? "" : ", ") + shown(key_of(key));
    }
    return keys.empty() ? "neither a dict nor a model" : "a dict of " + keys;
  }

  const Pickle& pickle_;
  const std::string& file_;
  TorchTensors result_;
  std::size_t visits_ = 0;
  std::string module_;                         // its class, where the file is one
  std::map<std::string, std::string> others_;  // what is no plain tensor: names, what makes them
};

}  // namespace

std::uint64_t TorchTensor::count() const {
  std::uint64_t product = 1;
  for (const std::int64_t extent : shape) product *= static_cast<std::uint64_t>(extent);
  return product;
}

TorchTensors torch_tensors(const Pickle& pickle, const std::string& file) {
  return TensorWalk(pickle, file).run();
}

std::vector<TorchStorage> torch_storages(const Pickle& pickle, const std::string& file) {
  return TensorWalk(pickle, file).storages();
}

}  // namespace tapescope
