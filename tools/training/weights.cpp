#include "tools/training/weights.h"

#include <fmt/format.h>

#include <fnmatch.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <map>
#include <set>

#include "engine/thread_pool.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Entry = WeightsFile::Entry;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 8; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 8) text += fmt::format(" and {} more", names.size() - 8);
  return text.empty() ? "none" : text;
}

// As PyTorch has it.
std::vector<std::int64_t> pytorch_shape(const Tensor& tensor) {
  const Shape& s = tensor.shape();
  if (s.rank() == 4 && tensor.dtype() == DType::f32) return {s[0], s[3], s[1], s[2]};
  return {s.begin(), s.end()};
}

// PyTorch counts batches and uses the count for nothing.
bool is_counter(const Parameter& parameter) {
  return parameter.kind == Parameter::Kind::buffer && parameter.value.dtype() == DType::i64;
}

// A model's names, with the shapes that PyTorch has for them.
using Names = std::map<std::string, std::vector<std::int64_t>>;

// What stands before the model's own names in the file: "module." of DataParallel, "_orig_mod." of
// torch.compile, "model." of Lightning, several of them; empty where the names are the model's.
std::string prefix_of(const WeightsFile& file, const Names& names) {
  // Under each prefix: how many of the model's tensors are there by name and shape, and by name.
  std::map<std::string, std::pair<std::size_t, std::size_t>> found;
  constexpr std::size_t kLongest = 512;
  for (const Entry& entry : file.entries()) {
    if (entry.name.size() > kLongest) continue;
    for (std::size_t at = 0;;) {
      if (const auto it = names.find(entry.name.substr(at)); it != names.end()) {
        auto& [shapes, all] = found[entry.name.substr(0, at)];
        shapes += entry.shape == it->second ? 1 : 0;
        ++all;
      }
      const std::size_t dot = entry.name.find('.', at);
      if (dot == std::string::npos) break;
      at = dot + 1;
    }
  }
  const std::size_t own = found[""].second;
  std::vector<std::string> best;
  for (const auto& [prefix, count] : found) {
    if (prefix.empty() || count.second <= own || count.second * 2 < names.size()) continue;
    if (!best.empty() && count < found[best[0]]) continue;
    if (!best.empty() && count > found[best[0]]) best.clear();
    best.push_back(prefix);
  }
  if (best.empty() || (best.size() > 1 && found[best[0]].first == 0)) return "";
  if (best.size() == 1) return best[0];
  for (std::string& prefix : best) prefix = fmt::format("'{}'", shown_name(prefix));
  throw usage_error(
      "'{}' holds this model several times, under the prefixes {}; save one of them alone",
      printable(file.path().string()), joined(best));
}

// What of a file fits a model. No tensor has been read.
struct Match {
  std::string prefix;
  std::vector<std::pair<Parameter*, const Entry*>> fitting;
  std::vector<std::string> missing, mismatched, unexpected;
  int counters = 0;  // missing ones
};

Match match(const WeightsFile& file, const Module& model) {
  Match result;
  const std::vector<ParameterRef> parameters = model.parameters();
  Names names;
  for (const ParameterRef& p : parameters) {
    if (!is_counter(*p)) names.emplace(p->name, pytorch_shape(p->value));
  }
  result.prefix = prefix_of(file, names);
  std::set<const Entry*> used;
  for (const ParameterRef& p : parameters) {
    const Entry* entry = file.find(result.prefix + p->name);
    if (entry == nullptr) entry = file.find(p->name);  // "backbone.conv1.weight", but "fc.weight"
    if (entry == nullptr) {
      if (is_counter(*p)) {
        ++result.counters;
      } else {
        result.missing.push_back(p->name);
      }
      continue;
    }
    used.insert(entry);
    const std::vector<std::int64_t> wanted = pytorch_shape(p->value);
    // A counter of PyTorch 0.3 has one axis.
    if (entry->shape == wanted ||
        (wanted.empty() && entry->shape == std::vector<std::int64_t>{1})) {
      result.fitting.emplace_back(p.get(), entry);
    } else {
      result.mismatched.push_back(fmt::format("{} ({{{}}} in the file, {{{}}} in the model)",
                                              p->name, fmt::join(entry->shape, ", "),
                                              fmt::join(wanted, ", ")));
    }
  }
  for (const Entry& entry : file.entries()) {
    if (!used.contains(&entry)) result.unexpected.push_back(shown_name(entry.name));
  }
  return result;
}

// Values whose exponent is all ones.
bool is_non_finite(float value) {
  return (__builtin_bit_cast(std::uint32_t, value) & 0x7f800000u) == 0x7f800000u;
}
std::int64_t count_non_finite(const Tensor& tensor) {
  if (tensor.dtype() != DType::f32) return 0;
  const auto values = tensor.values<float>();
  std::atomic<std::int64_t> count{0};
  parallel_ranges(tensor.elements(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    std::int32_t here = 0;
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      here += is_non_finite(values[i]) ? 1 : 0;
    }
    count += here;
  });
  return count;
}

// "[3, 0, 1]": the place of the first such value.
std::string first_non_finite(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  auto at = std::find_if(values.begin(), values.end(), is_non_finite) - values.begin();
  std::vector<std::int64_t> place;
  for (int axis = tensor.shape().rank() - 1; axis >= 0; --axis) {
    place.insert(place.begin(), at % tensor.shape()[axis]);
    at /= tensor.shape()[axis];
  }
  return fmt::format("[{}]", fmt::join(place, ", "));
}

// A sentence about values that are not finite.
class NonFinite {
 public:
  explicit NonFinite(const std::filesystem::path& file) : file_(printable(file.string())) {}
  void look_at(const std::string& name, const Tensor& values) {
    const std::int64_t count = count_non_finite(values);
    if (count == 0) return;
    if (!first_.empty()) {
      ++more_;
      return;
    }
    first_ = fmt::format("'{}' has {} of {} values NaN or infinite, the first at {}", name, count,
                         values.elements(), first_non_finite(values));
  }
  // Empty where there are none.
  std::string sentence() const {
    if (first_.empty()) return "";
    const std::string more =
        more_ > 0 ? fmt::format(", and so have {} more tensors", more_) : std::string();
    return file_ + ": " + first_ + more;
  }
  void expect_allowed(const LoadOptions& options) const {
    if (first_.empty() || options.allow_non_finite) return;
    throw usage_error(
        "{}; what such a model answers means nothing: take another checkpoint, or give "
        "--allow-non-finite to look at it all the same (`inspect parameters` needs no such option)",
        sentence());
  }

 private:
  std::string file_, first_;
  std::int64_t more_ = 0;
};

bool holds_filters(const Tensor& tensor) {
  return tensor.shape().rank() == 4 && tensor.dtype() == DType::f32;
}

// Each filter {rows, columns} is transposed: {I, KH*KW} or {KH*KW, I}.
void move_axes(const Tensor& from, bool to_pytorch, Tensor& to) {
  const Shape& s = from.shape();
  const std::int64_t rows = to_pytorch ? s[1] * s[2] : s[1];
  const std::int64_t columns = to_pytorch ? s[3] : s[2] * s[3];
  const auto x = from.values<float>();
  const auto y = to.values<float>();
  parallel_for(s[0], [&](std::int64_t o) {
    const float* filter = x.data() + o * rows * columns;
    float* moved = y.data() + o * rows * columns;
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = 0; r < rows; ++r) *moved++ = filter[r * columns + c];
    }
  });
}

// Returns what is not finite.
NonFinite copy(const Match& match, WeightsFile& file) {
  NonFinite non_finite(file.path());
  for (const auto& [parameter, entry] : match.fitting) {
    Tensor stored = file.read(*entry).to(parameter->value.dtype());
    non_finite.look_at(parameter->name, stored);
    if (stored.shape().rank() != parameter->value.shape().rank()) {
      stored = stored.reshape(parameter->value.shape());
    }
    if (holds_filters(stored) && parameter->value.device() == Device::cpu()) {
      move_axes(stored, false, parameter->value);
    } else {
      parameter->value.copy_from(moved_axes(stored, false));
    }
    parameter->changed();
  }
  return non_finite;
}

std::vector<std::string> prefix_sentence(const Match& match) {
  if (match.prefix.empty()) return {};
  return {fmt::format("weights: the names' prefix '{}' was left out", shown_name(match.prefix))};
}

}  // namespace

Tensor moved_axes(const Tensor& from, bool to_pytorch) {
  if (!holds_filters(from)) return from;
  const Shape& s = from.shape();
  Tensor to(
      {DType::f32, to_pytorch ? Shape{s[0], s[3], s[1], s[2]} : Shape{s[0], s[2], s[3], s[1]}});
  move_axes(from, to_pytorch, to);
  return to;
}

void build_for(const SafetensorsFile& file, const std::string& what,
               const std::function<void(std::shared_ptr<std::int64_t>)>& build) {
  std::int64_t values = 0;
  for (const Entry& entry : file.entries()) {
    std::int64_t elements = 1;
    for (std::int64_t extent : entry.shape) elements *= extent;
    // A file of bytes has no more values than bytes, whatever a dtype that is not read says.
    values += std::min(elements, static_cast<std::int64_t>(entry.end - entry.begin));
  }
  // So much more that a file that lacks a tensor or two gets its list of names below.
  const auto room = std::make_shared<std::int64_t>(2 * values + (std::int64_t{1} << 20));
  try {
    build(room);
  } catch (const Error& error) {
    if (*room >= 0) {
      throw usage_error("'{}' says that it holds {}: {}", printable(file.path().string()), what,
                        error.what());
    }
    throw usage_error(
        "'{}' says that it holds {}, which has far more parameters than the {} values in the file; "
        "the file is damaged, or its metadata are not its own",
        printable(file.path().string()), what, values);
  }
}

void load_exactly(Module& model, SafetensorsFile& file, const std::string& what,
                  const LoadOptions& options) {
  const std::string path = printable(file.path().string());
  const Match found = match(file, model);
  if (!found.missing.empty() || !found.mismatched.empty()) {
    throw usage_error("'{}' does not hold {}: missing {}; mismatched {}; unexpected {}", path, what,
                      joined(found.missing), joined(found.mismatched), joined(found.unexpected));
  }
  const NonFinite looked = copy(found, file);
  looked.expect_allowed(options);
  const std::string non_finite = looked.sentence();
  if (options.notices == nullptr) return;
  std::vector<std::string> notices = prefix_sentence(found);
  if (!non_finite.empty()) notices.push_back(non_finite);
  if (found.counters > 0) {
    notices.push_back(fmt::format(
        "weights: {} counters (num_batches_tracked) are not in the file and stay 0; nothing uses "
        "them",
        found.counters));
  }
  if (!found.unexpected.empty()) {
    notices.push_back(fmt::format(
        "weights: {} tensor{} that the model does not have passed over: {}",
        found.unexpected.size(), plural(std::ssize(found.unexpected)), joined(found.unexpected)));
  }
  options.notices->insert(options.notices->end(), notices.begin(), notices.end());
}

void expect_finite(const Module& model, const std::filesystem::path& file,
                   const LoadOptions& options) {
  NonFinite non_finite(file);
  for (const ParameterRef& p : model.parameters()) non_finite.look_at(p->name, p->value.host());
  non_finite.expect_allowed(options);
}

std::vector<ParameterRef> stored_parameters(std::span<const ParameterRef> like,
                                            SafetensorsFile& file) {
  std::vector<ParameterRef> stored;
  for (const ParameterRef& p : like) {
    const Entry* entry = file.find(p->name);
    if (p->value.dtype() != DType::f32 || entry == nullptr) continue;
    if (entry->shape != pytorch_shape(p->value)) continue;
    Tensor value = moved_axes(file.read(*entry).to(DType::f32), false);
    stored.push_back(std::make_shared<Parameter>(p->name, std::move(value), p->kind));
  }
  return stored;
}

std::vector<std::string> load_weights(Module& model, const fs::path& path) {
  const std::unique_ptr<WeightsFile> opened = open_weights(path);
  WeightsFile& file = *opened;
  const Match found = match(file, model);
  if (found.fitting.empty()) {
    throw usage_error("--weights '{}' fits nothing of this model: its tensors are {}",
                      printable(path.string()),
                      joined(found.unexpected.empty() ? found.mismatched : found.unexpected));
  }
  if (const std::string non_finite = copy(found, file).sentence(); !non_finite.empty()) {
    throw usage_error("--weights {}; a training cannot start from that, take other weights",
                      non_finite);
  }
  std::vector<std::string> sentences = file.notices();
  for (std::string& sentence : prefix_sentence(found)) sentences.push_back(std::move(sentence));
  sentences.push_back(fmt::format("weights: {} tensors taken from {}", found.fitting.size(),
                                  printable(path.string())));
  if (!found.missing.empty()) {
    sentences.push_back("weights: missing in the file, keep their initial values: " +
                        joined(found.missing));
  }
  if (!found.mismatched.empty()) {
    sentences.push_back("weights: of another shape, keep their initial values: " +
                        joined(found.mismatched));
  }
  if (!found.unexpected.empty()) {
    sentences.push_back(fmt::format("weights: not in this model, {} passed over: {}",
                                    found.unexpected.size(), joined(found.unexpected)));
  }
  return sentences;
}

namespace {

bool fits(const std::string& glob, const ParameterRef& parameter) {
  return fnmatch(glob.c_str(), parameter->name.c_str(), 0) == 0;
}

// Of the parameters that could be trained, the ones of this name.
std::vector<ParameterRef> matching(const Module& model, const std::string& option,
                                   const std::string& glob) {
  std::vector<ParameterRef> found = model.parameters();
  std::erase_if(found, [&](const ParameterRef& p) {
    return p->kind == Parameter::Kind::buffer || !fits(glob, p);
  });
  if (!found.empty()) return found;
  std::vector<std::string> names;
  for (const ParameterRef& parameter : model.trained_parameters()) names.push_back(parameter->name);
  throw usage_error("{} '{}' matches no parameter; they are {}", option, printable(glob),
                    joined(names));
}

std::vector<std::string> globs_of(const std::string& list, const std::vector<std::string>& head) {
  std::vector<std::string> globs;
  for (const std::string& word : comma_separated(list)) {
    if (word == "head") {
      globs.insert(globs.end(), head.begin(), head.end());
    } else {
      globs.push_back(word);
    }
  }
  return globs;
}

}  // namespace

std::vector<std::string> head_of(const Module& model) {
  std::string last;
  for (const ParameterRef& parameter : model.parameters()) {
    if (parameter->kind != Parameter::Kind::buffer) last = parameter->name;
  }
  return {last.substr(0, last.rfind('.') + 1) + "*"};
}

std::vector<ParameterRef> train_only(const Module& model, const std::string& list,
                                     const std::vector<std::string>& head) {
  std::set<ParameterRef> kept;
  for (const std::string& glob : globs_of(list, head)) {
    for (const ParameterRef& parameter : matching(model, "--train-only", glob)) {
      kept.insert(parameter);
    }
  }
  std::vector<ParameterRef> frozen;
  for (const ParameterRef& parameter : model.trained_parameters()) {
    if (kept.contains(parameter)) continue;
    parameter->frozen = true;
    frozen.push_back(parameter);
  }
  return frozen;
}

std::map<std::string, double> rate_factors(const Module& model, const std::string& list,
                                           const std::vector<std::string>& head) {
  std::map<std::string, double> factors;
  if (list.empty()) return factors;
  for (const std::string& part : comma_separated(list)) {
    const std::size_t equals = part.find('=');
    double factor = -1;
    if (equals != std::string::npos) {
      const char* end = part.data() + part.size();
      const auto [at, error] = std::from_chars(part.data() + equals + 1, end, factor);
      if (error != std::errc() || at != end) factor = -1;
    }
    if (!(factor > 0 && factor <= 1000)) {
      throw usage_error(
          "--lr-factors has '{}'; each part is GLOB=FACTOR with a factor above 0 and at most 1000, "
          "as in 'layer1.*=0.1,layer2.*=0.3'",
          printable(part));
    }
    for (const std::string& glob : globs_of(part.substr(0, equals), head)) {
      for (const ParameterRef& parameter : matching(model, "--lr-factors", glob)) {
        factors[parameter->name] = factor;
      }
    }
  }
  return factors;
}

int freeze(Module& model, const std::string& glob) {
  int frozen = 0;
  for (const ParameterRef& parameter : model.parameters()) {
    if (fnmatch(glob.c_str(), parameter->name.c_str(), 0) != 0 || !parameter->trained()) continue;
    parameter->frozen = true;
    ++frozen;
  }
  if (frozen == 0) {
    std::vector<std::string> names;
    for (const ParameterRef& parameter : model.trained_parameters()) {
      names.push_back(parameter->name);
    }
    throw usage_error("--freeze '{}' matches no parameter; they are {}", glob, joined(names));
  }
  return frozen;
}

}  // namespace tapescope
