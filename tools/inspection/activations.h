// What a model's activation functions do on real pictures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/data/image.h"
#include "tools/inspection/histogram.h"
#include "tools/inspection/structure.h"

namespace tapescope::inspection {

// Sums from which moments follow; numbers that are not finite are counted apart.
struct Moments {
  double count = 0, mean = 0, m2 = 0, m3 = 0, m4 = 0;  // central sums, Pebay 2008
  std::int64_t not_finite = 0;
  // Adds the moments of these values to what is there.
  void add(std::span<const float> values);
  double std() const;
  double kurtosis() const;  // excess: 0 for a normal distribution
};

// The pictures that made one channel answer most: position in the data set and the value.
struct TopImage {
  std::int64_t index = 0;
  float value = 0;
};

struct UnitRow {
  float min = 0, max = 0;     // of what the unit feeds into the function, over images and positions
  double active = 0;          // share of the results that are above 0
  double saturated = 0;       // share where the slope is below 5 % of the steepest
  std::vector<TopImage> top;  // by the largest value anywhere in the picture
};

// A unit is a channel of a feature map, or an element of a vector.
struct ActivationRow {
  std::string path, op, attributes;
  Shape shape;            // of one image: {H,W,C} or {C}
  Moments input, output;  // of the function
  double zero_fraction = 0, negative_fraction = 0, saturated_fraction = 0;
  // relu: units that never were above 0 (dead), in less than a thousandth of the places
  // (near-dead, the dead not counted), or everywhere (always on: they are linear). sigmoid and
  // tanh: dead is saturated everywhere.
  int dead = 0, near_dead = 0, always_on = 0;
  double effective_rank = 0;  // of the covariance of the units over images and positions
  std::vector<UnitRow> units;
  Histogram histogram;  // of the input
  // The function and its slope over the histogram's range, 101 points.
  std::vector<double> curve_x, curve_y, curve_slope;
};

struct ActivationOptions {
  Backend backend;
  std::int64_t batch_size = 16;
  int top_images = 5;  // a unit; 0: none are looked for
};

// Watches every activation function of a model while pictures pass. The model outlives it, and its
// parameters may change between pictures' passes, not within one sample of them.
class ActivationProbe {
 public:
  ActivationProbe(const Record& record, const Shape& image, const ActivationOptions& options);
  ~ActivationProbe();
  // images f32 {N,H,W,C}; `indices`: their positions in the data set, or empty.
  void add(const Tensor& images, std::span<const std::int64_t> indices = {});
  // Of what was added since the last call; begins a new sample. A model without activation
  // functions gives no rows.
  std::vector<ActivationRow> rows();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A feature map of one picture, channel by channel, grey: what a sheet is made of. node: path of
// any node with a {N,H,W,C} result. image f32 {1,H,W,C}. At most `most` channels.
std::vector<Image> feature_maps(const Record& record, const std::string& node, const Tensor& image,
                                const Backend& backend, int most = 64);

// The function with its slope over the distribution of what goes into it, as an SVG picture.
std::string curve_svg(const ActivationRow& row);

std::string to_text(const std::vector<ActivationRow>& rows);
std::string to_json(const std::vector<ActivationRow>& rows, bool units);

// The op is an element-wise activation function of one operand.
bool is_activation(std::string_view op);
// What `outputs` would be if every activation function `from` before them were `to`: recorded on
// the same tape, sharing everything earlier. A usage error where there is no such function.
std::vector<Var> swapped(std::span<const Var> outputs, const std::string& from,
                         const std::string& to);

}  // namespace tapescope::inspection
