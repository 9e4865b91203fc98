// What a model's parameters look like: a row per tensor, and per output channel.
#pragma once

#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "tools/data/image.h"
#include "tools/inspection/histogram.h"
#include "tools/inspection/spectrum.h"

namespace tapescope::inspection {

// Of some numbers. Those that are not finite are counted and left out of everything else.
struct Numbers {
  std::int64_t count = 0, zeros = 0, nans = 0, infinities = 0;
  double mean = 0, std = 0, min = 0, max = 0;  // std of the population
  double l1 = 0, l2 = 0, linf = 0;
};
Numbers numbers_of(std::span<const float> values);

struct ChannelRow {
  Numbers numbers;
  bool dead = false;        // its norm is below a thousandth of the layer's median, or 0
  int near_duplicate = -1;  // an earlier channel whose weights point the same way (cosine > 0.95)
};

struct ParameterRow {
  std::string name;
  Shape shape;  // convolutions {O, KH, KW, I}
  Parameter::Kind kind = Parameter::Kind::weight;
  bool frozen = false;
  Numbers numbers;
  Histogram histogram;
  // From the initial values: ||W - W0|| / ||W0|| and the cosine between the two. Where there are
  // none, or W0 is 0, `compared` is false.
  bool compared = false;
  double distance = 0, cosine = 0;
  // Of weights of two axes or more, as a matrix {O, everything else}.
  bool is_matrix = false;
  Spectrum spectrum;
  std::vector<ChannelRow> channels;
  int dead = 0, near_duplicates = 0;
};

// Every parameter in the model's order, on the host. `initial` are the same parameters as they were
// before training; empty where that is not known.
std::vector<ParameterRow> parameters_of(std::span<const ParameterRef> parameters,
                                        std::span<const ParameterRef> initial);

std::string to_text(const std::vector<ParameterRow>& rows, bool channels);
std::string to_json(const std::vector<ParameterRow>& rows, bool channels);

// The filters of a convolution as pictures, one per filter, each with its own range: colours where
// there are three input channels, grey for one, and the first channel elsewhere. Empty where the
// row is no convolution larger than 1x1.
std::vector<Image> filter_pictures(const Parameter& parameter, int most = 64);

}  // namespace tapescope::inspection
