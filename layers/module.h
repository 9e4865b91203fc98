// Modules own parameters and record nodes; models are modules with named inputs and outputs.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/philox.h"

namespace tapescope {

// Gives one initial value after the other from the stream of its parameter.
using InitialValue = std::function<double(PhiloxStream&)>;

// Parameters are named as PyTorch's state_dict names them: "layer1.0.conv1.weight". Modules are
// values: a member `Conv2d conv1_{*this, "conv1", ...}` registers itself with the module it is a
// member of, and stays where it is. A module can be called several times: each call records nodes
// of its own, the parameters are shared.
class Module {
 public:
  // One that stands in no other. Initial values are keyed by (seed, full parameter name), so they
  // do not depend on the order in which modules are made. Where `room` is not null parameters have
  // no values yet, for a file to bring all; their elements are taken from it, and a usage error
  // says where they are more.
  explicit Module(std::uint64_t seed = 0, std::shared_ptr<std::int64_t> room = nullptr)
      : seed_(seed), room_(std::move(room)) {}
  // Stands in `parent` under `name`: registered there, and drawn from the parent's seed.
  Module(Module& parent, std::string_view name);
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // This module's and its children's, in order of registration, buffers included: PyTorch's
  // state_dict in its order.
  std::vector<ParameterRef> parameters() const;
  // Those an optimiser updates.
  std::vector<ParameterRef> trained_parameters() const;
  const std::string& path() const { return path_; }  // "layer1.0.conv1", empty for a whole model
  // The last part of the path: the scope that its nodes are recorded in.
  std::string_view scope_name() const;

 protected:
  // f32, its elements drawn one after the other (initialise.h); or of given value.
  ParameterRef add_parameter(std::string_view name, Parameter::Kind kind, Shape shape,
                             const InitialValue& draw);
  ParameterRef add_parameter(std::string_view name, Parameter::Kind kind, Tensor value);
  void adopt(ParameterRef other) { members_.push_back({std::move(other), nullptr}); }  // as it is

 private:
  struct Member {  // a parameter or a child, in order of registration
    ParameterRef parameter;
    const Module* module;
  };
  std::string path_of(std::string_view name) const;
  std::uint64_t seed_;
  std::shared_ptr<std::int64_t> room_;
  std::string path_;
  std::vector<Member> members_;
};

// A module from one Var to one Var. Calling it records forward() inside its scope.
class Layer : public Module {
 public:
  using Module::Module;
  Var operator()(Var x) const {
    const Tape::Scope in(x.tape(), scope_name());
    return forward(x);
  }
  virtual Var forward(Var x) const = 0;
};

using NamedVars = std::map<std::string, Var, std::less<>>;

// A whole network with named inputs and outputs.
class Model : public Module {
 public:
  using Module::Module;
  virtual NamedVars operator()(const NamedVars& inputs) const = 0;
};

struct ModelConfig {
  std::string name = "lenet";
  std::int64_t classes = 10;
  std::int64_t channels = 1;                     // of the input images
  std::int64_t image_size = 28;                  // height and width of the input images
  double width = 1.0;                            // scales hidden channel counts
  std::uint64_t seed = 0;                        // of the initial values
  std::shared_ptr<std::int64_t> room = nullptr;  // see Module
  std::int64_t image_width = 0;                  // where it is not image_size; 0: it is
  // {H, W, C}
  Shape image() const { return {image_size, image_width > 0 ? image_width : image_size, channels}; }
};

// {"image": {N, H, W, channels}} to {"logits": {N, classes}}.
class Classifier : public Model {
 public:
  explicit Classifier(const ModelConfig& config)
      : Model(config.seed, config.room), config_(config) {
    config_.room = nullptr;  // of this model alone: others of its kind draw their values
  }
  NamedVars operator()(const NamedVars& inputs) const final;
  virtual Var logits(Var image) const = 0;
  // Another of its kind with other initial values; null: as make_model() makes it of config().
  virtual std::unique_ptr<Classifier> redrawn(std::uint64_t) const { return nullptr; }
  const ModelConfig& config() const { return config_; }

 protected:
  // A hidden channel count, scaled by the width and at least 1.
  std::int64_t scaled(std::int64_t channels) const;

 private:
  ModelConfig config_;
};

}  // namespace tapescope
