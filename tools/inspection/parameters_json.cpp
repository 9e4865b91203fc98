#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/inspection/inspection_json.h"
#include "tools/inspection/parameters.h"

namespace tapescope::inspection {
namespace {

using Json = nlohmann::ordered_json;

Json numbers(const Numbers& n) {
  return {{"count", n.count},
          {"mean", n.mean},
          {"std", n.std},
          {"min", n.min},
          {"max", n.max},
          {"l1", n.l1},
          {"l2", n.l2},
          {"linf", n.linf},
          {"zeros", n.zeros},
          {"nans", n.nans},
          {"infinities", n.infinities}};
}

const char* kind_name(const ParameterRow& row) {
  switch (row.kind) {
    case Parameter::Kind::weight:
      return row.frozen ? "frozen weight" : "weight";
    case Parameter::Kind::bias:
      return row.frozen ? "frozen bias" : "bias";
    case Parameter::Kind::buffer:
      return "buffer";
    case Parameter::Kind::state:
      return "state";
  }
  return "";
}

}  // namespace

std::string to_json(const std::vector<ParameterRow>& rows, bool channels) {
  Json list = Json::array();
  for (const ParameterRow& row : rows) {
    Json shape = Json::array();
    for (std::int64_t extent : row.shape) shape.push_back(extent);
    Json json = {{"name", row.name}, {"shape", shape}, {"kind", kind_name(row)}};
    json.update(numbers(row.numbers));
    json["histogram"] = histogram_json(row.histogram);
    if (row.compared) {
      json["distance_from_initial"] = row.distance;
      json["cosine_to_initial"] = row.cosine;
    }
    if (row.is_matrix) {
      const Spectrum& s = row.spectrum;
      json["spectral_norm"] = s.norm;
      json["stable_rank"] = s.stable_rank;
      json["effective_rank"] = s.effective_rank;
      json["condition"] = std::isfinite(s.condition) ? Json(s.condition) : Json();
      if (s.alpha > 0) {
        json["alpha"] = {{"value", s.alpha},
                         {"distance", s.tail_distance},
                         {"tail_count", s.tail_count},
                         {"note", "a heuristic"}};
      }
      json["dead_channels"] = row.dead;
      json["near_duplicate_channels"] = row.near_duplicates;
    }
    if (channels && !row.channels.empty()) {
      Json channel_list = Json::array();
      for (const ChannelRow& channel : row.channels) {
        Json one = numbers(channel.numbers);
        one["dead"] = channel.dead;
        one["near_duplicate_of"] = channel.near_duplicate;
        channel_list.push_back(std::move(one));
      }
      json["channels"] = channel_list;
    }
    list.push_back(std::move(json));
  }
  return Json{{"parameters", list}}.dump(2);
}

}  // namespace tapescope::inspection
