// How far the answers of a lower precision lie from f32's.
#pragma once

#include <memory>
#include <span>

#include "layers/module.h"
#include "tools/training/task.h"

namespace tapescope {

// |got - want| / |want|, Euclidean norms over all elements of all tensors; 0 where both are 0.
double deviation(std::span<const Tensor> got, std::span<const Tensor> want);

// One sentence on stderr where the backend's precision is not f32: how far the model's outputs lie
// from f32's, for an image f32 {N,H,W,C} or for the first pictures of `data`; and where this
// processor has no arithmetic for it.
void tell_deviation(const Model& model, const Tensor& image, const Backend& backend);
void tell_deviation(const Model& model, const Task& task, std::shared_ptr<const SampleSource> data,
                    const Backend& backend);

// Empty, or a sentence: a processor has no tf32, and without instructions for bf16 is slower than
// in f32.
std::string slow_precision(const Backend& backend);

}  // namespace tapescope
