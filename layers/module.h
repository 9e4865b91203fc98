// Modules own parameters and record nodes; models are modules with named inputs and outputs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

// What a module is built with: where it stands in the model and which random numbers are its own.
// Initial values are keyed by (seed, full parameter name), so they do not depend on the order in
// which modules are made.
struct Build {
  std::uint64_t seed = 0;
  std::string path;  // "layer1.0.conv1", empty for the model itself

  Build child(std::string_view name) const {
    return {seed, path.empty() ? std::string(name) : path + "." + std::string(name)};
  }
};

// Parameters are named as PyTorch's state_dict names them: "layer1.0.conv1.weight". A module can
// be called several times: each call records nodes of its own, the parameters are shared.
class Module {
 public:
  explicit Module(const Build& build) : build_(build) {}
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // This module's and its children's, in order of registration, buffers included: PyTorch's
  // state_dict in its order.
  std::vector<ParameterRef> parameters() const;
  // Those an optimiser updates.
  std::vector<ParameterRef> trained_parameters() const;
  const std::string& path() const { return build_.path; }
  // The last part of the path: the scope that its nodes are recorded in.
  std::string_view scope_name() const;

 protected:
  ParameterRef add_parameter(std::string_view name, Tensor value, Parameter::Kind kind);
  // Builds and registers a child called `name`.
  template <class M, class... Args>
  std::shared_ptr<M> add_child(std::string_view name, Args&&... args) {
    auto module = std::make_shared<M>(build_.child(name), std::forward<Args>(args)...);
    add_module(module);
    return module;
  }
  void add_module(std::shared_ptr<Module> module);
  const Build& build() const { return build_; }

 private:
  Build build_;
  struct Member {  // a parameter or a child, in order of registration
    ParameterRef parameter;
    std::shared_ptr<Module> module;
  };
  std::vector<Member> members_;
};

// A module from one Var to one Var. Calling it records forward() inside its scope.
class Layer : public Module {
 public:
  using Module::Module;
  Var operator()(Var x) {
    const Tape::Scope in(x.tape(), scope_name());
    return forward(x);
  }
  virtual Var forward(Var x) = 0;
};

using NamedVars = std::map<std::string, Var, std::less<>>;

// A whole network with named inputs and outputs.
class Model : public Module {
 public:
  using Module::Module;
  virtual NamedVars operator()(Tape& tape, const NamedVars& inputs) = 0;
};

struct ModelConfig {
  std::string name = "lenet";
  std::int64_t classes = 10;
  std::int64_t channels = 1;     // of the input images
  std::int64_t image_size = 28;  // height and width of the input images
  double width = 1.0;            // scales hidden channel counts
  std::uint64_t seed = 0;        // of the initial values
};

// {"image": {N, H, W, channels}} to {"logits": {N, classes}}.
class Classifier : public Model {
 public:
  explicit Classifier(const ModelConfig& config) : Model(Build{config.seed, ""}), config_(config) {}
  NamedVars operator()(Tape& tape, const NamedVars& inputs) final;
  virtual Var logits(Var image) = 0;
  const ModelConfig& config() const { return config_; }

 protected:
  // A hidden channel count, scaled by the width and at least 1.
  std::int64_t scaled(std::int64_t channels) const;

 private:
  ModelConfig config_;
};

}  // namespace tapescope
