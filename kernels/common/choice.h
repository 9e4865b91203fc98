// Where kernels run, and which of the variants that cover a shape: the first of the table, one
// asked for by name, or one that was measured.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/device.h"
#include "engine/type.h"
#include "kernels/common/gpu_tables.h"

namespace tapescope {

// By family, "conv2d" -> "winograd": `--kernel FAMILY=VARIANT`. By family and shape,
// "conv2d f32 56x56 64->64 3x3 pad 1" -> "onednn": what was measured. The family's goes before.
using KernelChoices = std::map<std::string, std::string, std::less<>>;

// What there was to choose from where a kernel was prepared. Asked of families whose shapes have a
// key(): "" where nothing is computed, else a text that says all but the batch, so that a sample's
// result depends neither on how many there are nor on who has which of them.
struct KernelQuestion {
  std::string kernel;                      // a key of KernelChoices, by family and shape
  std::vector<std::string_view> variants;  // in the table's order: the first is the usual one
};
using KernelQuestions = std::vector<KernelQuestion>;

// Where to run, and which variants were asked for.
struct Backend {
  Device device;
  KernelChoices choices;
  Precision precision = DType::f32;  // of tapes recorded for it: autograd/more_ops/precision.h
  KernelQuestions* questions = nullptr;  // where given, hears what there is to choose from
};

// The textbook's loops: nothing is measured against them.
inline bool is_textbook(std::string_view variant) {
  return variant == "reference" || variant == "naive";
}

// Whether a variant can run a shape here.
template <class Shape>
bool covers(const Variant<Shape>& v, const Shape& shape, DType dtype) {
  return v.reason.empty() && v.dtypes.contains(dtype) && (!v.supports || v.supports(shape));
}

// f(variant) in the order of preference: for tf32 those first that round to it, else without these,
// since their arithmetic is another.
template <class Shape, class F>
void in_order(const Variants<Shape>& table, Precision precision, F&& f) {
  for (const bool tf32 : {true, false}) {
    for (const Variant<Shape>& variant : table) {
      if (variant.tf32 == tf32 && (precision.tf32 || !tf32)) f(variant);
    }
  }
}

// The variant asked for, and the key that it was found by; empty where there is none.
template <class Shape>
std::pair<std::string, std::string_view> wanted(const Variants<Shape>& table, const Shape& shape,
                                                DType dtype, const Backend& backend) {
  if (backend.choices.empty() && backend.questions == nullptr) return {};
  KernelQuestion question{std::string(table.family), {}};
  auto it = backend.choices.find(question.kernel);
  if constexpr (requires { shape.key(); }) {
    const std::string key = it == backend.choices.end() ? shape.key() : "";
    if (!key.empty()) it = backend.choices.find(question.kernel += " " + key);
    if (!key.empty() && backend.questions != nullptr) {
      in_order(table, backend.precision, [&](const Variant<Shape>& variant) {
        const bool counts = covers(variant, shape, dtype) && !is_textbook(variant.name);
        if (counts) question.variants.push_back(variant.name);
      });
      if (!question.variants.empty()) backend.questions->push_back(question);
    }
  }
  if (it == backend.choices.end()) return {};
  return {std::move(question.kernel), it->second};
}

}  // namespace tapescope
