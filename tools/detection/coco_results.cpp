#include "tools/detection/coco_results.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"

namespace tapescope::detection {

std::string to_coco_results(std::span<const SeenImage> images, CocoIds& ids) {
  std::string text = "[";
  for (const SeenImage& image : images) {
    const std::string id = ids.image(image.path);
    for (const Seen& s : image.seen) {
      text += fmt::format(
          "{}\n{{\"image_id\": {}, \"category_id\": {}, \"bbox\": [{:.9g}, {:.9g}, {:.9g}, "
          "{:.9g}], \"score\": {:.9g}}}",
          text.size() > 1 ? "," : "", id, ids.category(s.category), s.box.x, s.box.y, s.box.w,
          s.box.h, s.score);
    }
  }
  return text + "\n]\n";
}

std::string to_coco_dataset(std::span<const SeenImage> images,
                            const std::vector<std::string>& classes, CocoIds& ids) {
  using nlohmann::ordered_json;
  ordered_json all = {{"images", ordered_json::array()},
                      {"annotations", ordered_json::array()},
                      {"categories", ordered_json::array()}};
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const auto id = ordered_json::parse(ids.category(static_cast<int>(c)));
    all["categories"].push_back({{"id", id}, {"name", classes[c]}});
  }
  for (const SeenImage& image : images) {
    const auto id = ordered_json::parse(ids.image(image.path));
    all["images"].push_back(
        {{"id", id}, {"file_name", image.path}, {"width", image.width}, {"height", image.height}});
    for (const Seen& s : image.seen) {
      all["annotations"].push_back({{"id", all["annotations"].size() + 1},
                                    {"image_id", id},
                                    {"category_id", ordered_json::parse(ids.category(s.category))},
                                    {"bbox", {s.box.x, s.box.y, s.box.w, s.box.h}},
                                    {"area", s.box.area()},
                                    {"iscrowd", 0},
                                    {"score", s.score}});
    }
  }
  return json_text(all) + "\n";
}

}  // namespace tapescope::detection
