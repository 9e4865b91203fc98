// Pictures with one object whose class and box are known.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "engine/philox.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/image.h"
#include "tools/report/png.h"

namespace tapescope {

// Grey noise of 64x48 with one bright square (even `index`) or one dark bar.
struct SquareOrBar {
  Image picture{48, 64, 3};
  bool bar;
  int x, y, w, h;  // of the object, which begins at column `left` or further right

  SquareOrBar(std::string_view split, int index, int left = 0)
      : bar(index % 2 == 1), w(bar ? 24 : 14), h(bar ? 8 : 14) {
    PhiloxStream random(stable_hash(split) + static_cast<std::uint64_t>(index));
    for (std::uint8_t& v : picture.pixels) v = static_cast<std::uint8_t>(90 + random.below(40));
    x = left + static_cast<int>(random.below(static_cast<std::uint32_t>(64 - left - w)));
    y = static_cast<int>(random.below(static_cast<std::uint32_t>(48 - h)));
    for (int yy = y; yy < y + h; ++yy) {
      for (int xx = x; xx < x + w; ++xx) {
        for (int c = 0; c < 3; ++c) picture.at(yy, xx)[c] = bar ? 10 : 245;
      }
    }
  }
};

// `count` of them in COCO's form: FOLDER/images/SPLIT-NN.png and FOLDER/annotations/SPLIT.json.
inline void write_squares_and_bars(const std::filesystem::path& folder, const std::string& split,
                                   int count) {
  std::filesystem::create_directories(folder / "annotations");
  std::filesystem::create_directories(folder / "images");
  nlohmann::json images = nlohmann::json::array(), annotations = nlohmann::json::array();
  for (int i = 0; i < count; ++i) {
    const auto& [picture, bar, x, y, w, h] = SquareOrBar(split, i);
    const std::string name = fmt::format("{}-{:02}.png", split, i);
    write_png(folder / "images" / name, picture);
    images.push_back({{"id", i + 1}, {"file_name", name}, {"width", 64}, {"height", 48}});
    annotations.push_back({{"id", i + 1},
                           {"image_id", i + 1},
                           {"category_id", bar ? 7 : 3},
                           {"bbox", {x, y, w, h}},
                           {"area", w * h},
                           {"iscrowd", 0}});
  }
  put(folder / "annotations" / (split + ".json"),
      nlohmann::json{
          {"images", images},
          {"annotations", annotations},
          {"categories", {{{"id", 3}, {"name", "square"}}, {{"id", 7}, {"name", "bar"}}}}}
          .dump());
}
// A whole set: 48 to train with, 12 to validate and to test.
inline void write_squares_and_bars(const std::filesystem::path& folder) {
  for (const char* split : {"train", "val", "test"}) {
    write_squares_and_bars(folder, split, std::string_view(split) == "train" ? 48 : 12);
  }
}

}  // namespace tapescope
