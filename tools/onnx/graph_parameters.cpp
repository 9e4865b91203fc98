#include "tools/onnx/graph_parameters.h"

#include <cmath>

#include "tools/onnx/net.h"

namespace tapescope::onnx {

ParameterRef GraphParameters::find(const std::string& name, const Layout& layout) const {
  const auto [begin, end] = stored_.equal_range(name);
  for (auto at = begin; at != end; ++at) {
    if (at->second.layout == layout) return at->second.parameter;
  }
  return nullptr;
}

RecorderOptions GraphParameters::making(Add add) {
  RecorderOptions options;
  options.looked_at = &looked_at_;
  options.parameters = [this, add = std::move(add)](const std::string& name, const Layout& layout,
                                                    Parameter::Kind kind,
                                                    const std::function<Tensor()>& numbers) {
    if (ParameterRef known = find(name, layout)) return known;
    const auto copies = stored_.count(name);
    const std::string called = copies == 0 ? name : fmt::format("{}#{}", name, copies + 1);
    Tensor value = numbers();
    if (value.storage()->references > 1) value = value.clone();  // the graph keeps its own
    ParameterRef made = add(called, kind, std::move(value));
    stored_.insert({name, {layout, made}});
    sources_.emplace(made->name, name);
    return made;
  };
  return options;
}

RecorderOptions GraphParameters::made() const {
  RecorderOptions options;
  options.parameters = [this](const std::string& name, const Layout& layout, Parameter::Kind,
                              const std::function<Tensor()>&) {
    ParameterRef known = find(name, layout);
    if (known == nullptr) throw failure("no parameter '{}' was made", name);
    return known;
  };
  return options;
}

const std::string& GraphParameters::source_of(const std::string& parameter) const {
  return sources_.at(parameter);
}

Value picture_value(const Graph& graph, Var image) {
  Value input;
  input.type = graph.inputs[0].type;
  input.var = held_in(input.type, "its input") == DType::f64 ? cast(image, DType::f64) : image;
  input.layout = picture_input(graph).channels_last ? plain_layout(4) : image_layout(4);
  input.batched = true;
  return input;
}

void redraw(const Parameter& from, Parameter& into, PhiloxStream& random) {
  if (from.value.dtype() != DType::f32) return;
  const Tensor host = from.value.host();
  const std::span<const float> values = host.values<float>();
  const double count = static_cast<double>(std::max<std::size_t>(1, values.size()));
  double sum = 0, squares = 0;
  for (const float v : values) sum += v;
  const double mean = sum / count;
  for (const float v : values) squares += (v - mean) * (v - mean);
  const double spread = std::sqrt(squares / count);
  for (float& v : into.value.values<float>()) {
    v = static_cast<float>(mean + spread * random.normal());
  }
  into.changed();
}

}  // namespace tapescope::onnx
