// Why a detector's box is there: every method of explanation, aimed at a number of one cell.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/explain/explainer.h"
#include "tools/detection/cells.h"

namespace tapescope::detection {

// A number of the answer at a cell: the score (logit) of a class, or how many pixels one side of
// the box lies from the cell.
constexpr int kObjectness = 4;
struct CellNumber {
  int y = 0, x = 0;
  int category = 0;
  int side = -1;  // 0 left, 1 top, 2 right, 3 lower; -1: the score; kObjectness: that factor of it
};

// One program a method serves every cell and class: which number is explained is an input.
class BoxExplainer {
 public:
  // `model` must outlive it.
  BoxExplainer(const BoxNet& model, const Backend& backend) : model_(model), backend_(backend) {}

  // explain::all_methods() and "odam", which is hires-cam's positive part at the shared map: ODAM
  // as its authors run it (Zhao and Chan 2023, arXiv 2304.06354), the gradient not smoothed. input
  // f32 {1,H,W,3}. `against`: explain how much larger the number is than this one, of the same
  // kind. Where options.layer is empty, layer methods look at the shared map. Relevance is that of
  // the number's size: logits below 0, probabilities below one half, would turn every sign about
  // under rules of positive parts (all of lrp-*, but lrp-epsilon).
  explain::Attribution explain(std::string_view method, const Tensor& input, const CellNumber& what,
                               const explain::ExplainOptions& options,
                               const std::optional<CellNumber>& against = {});

 private:
  std::int64_t index_of(const CellNumber& what) const;  // among the numbers of its kind
  explain::Explainer& of(const char* output, std::int64_t against);

  const BoxNet& model_;
  Backend backend_;
  std::map<std::pair<std::string, std::int64_t>, explain::Explainer> explainers_;
};

// D-RISE (Petsiuk et al. 2021, arXiv 2006.03204), for all boxes at once: RISE with cells x cells
// masks, of how similar the answer to a masked input still is to a box: the largest, over all
// cells, of IoU x cosine of the class probabilities x the highest of those (this detector has no
// objectness of its own). input f32 {1,H,W,3}, baseline {1,H,W,3}; one map {1,H,W,1} a target, in
// their order, with its standard error.
struct DRiseOptions {
  int cells = 16;
  int masks = 500;
  std::uint64_t seed = 0;
  int chunk = 8;
};
std::vector<explain::Attribution> d_rise(CellReader& reader, const Tensor& input,
                                         const Tensor& baseline,
                                         std::span<const CellNumber> targets,
                                         const DRiseOptions& options = {});

}  // namespace tapescope::detection
