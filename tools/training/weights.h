// The tensors of a model and those of a file.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "layers/module.h"
#include "tools/training/safetensors.h"
#include "tools/training/weights_file.h"

namespace tapescope {

// How a model's values are taken from a file, and who is told.
struct LoadOptions {
  bool allow_non_finite = false;                // NaN and infinity are told, not refused
  std::vector<std::string>* notices = nullptr;  // receives what the user should know
};

// Between our {O, KH, KW, I} and PyTorch's {O, I, KH, KW}: the last axis to the second place, or
// back. Tensors of other ranks are the same in both.
Tensor moved_axes(const Tensor& from, bool to_pytorch);

// Calls build(room), which makes the model that `file` says it holds: with that room (see Module)
// its parameters are zeros, and a usage error ends it as soon as they are far more than the file
// has values, whatever its metadata promise. `what` is the model in words: "a lenet of width 1 for
// images of 28x28".
void build_for(const SafetensorsFile& file, const std::string& what,
               const std::function<void(std::shared_ptr<std::int64_t>)>& build);

// Copies the model's tensors from the file. A usage error naming what is missing or of another
// shape, `what` being what the file should have held; or, with its count and first place, the
// tensor that holds NaN or infinity. Not missed are counters (num_batches_tracked), and a prefix
// that all names share ("module.") is left out, as are tensors that the model does not have,
// whatever their dtype: a notice each.
void load_exactly(Module& model, SafetensorsFile& file, const std::string& what,
                  const LoadOptions& options = {});

// Throws a usage error that names a parameter of `file` with NaN or infinite values, unless they
// are allowed.
void expect_finite(const Module& model, const std::filesystem::path& file,
                   const LoadOptions& options);

// A model file's f32 tensors under the names of `like` and of the same shapes, as parameters that
// no model has. Throws usage errors as reading the file does.
std::vector<ParameterRef> stored_parameters(std::span<const ParameterRef> like,
                                            SafetensorsFile& file);

// Copies the tensors of a file (open_weights(): safetensors or PyTorch's) into the model where name
// and shape agree, and says in sentences what was not used: missing, unexpected and mismatched
// names. A head of another number of classes keeps its initial values. Prefixes as above. A usage
// error where nothing fits, or where a value is NaN or infinite.
std::vector<std::string> load_weights(Module& model, const std::filesystem::path& file);

// The globs of the layers that give the outputs, where a net has one such: the layer that was made
// last, as PyTorch's nets have it ("fc.*").
std::vector<std::string> head_of(const Module& model);

// Freezes every trained parameter that matches none of the globs of a list, in which "head" stands
// for `head`, and returns them; a usage error where a glob matches none, naming some.
std::vector<ParameterRef> train_only(const Module& model, const std::string& list,
                                     const std::vector<std::string>& head);

// "layer1.*=0.1,fc.*=2" as factors by the names of trained parameters. A usage error where a part
// is none, or a glob matches nothing.
std::map<std::string, double> rate_factors(const Module& model, const std::string& list,
                                           const std::vector<std::string>& head);

// Marks the parameters whose names match the glob (* and ?) as frozen; a usage error if none does.
int freeze(Module& model, const std::string& glob);

}  // namespace tapescope
