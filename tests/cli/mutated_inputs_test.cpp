// Whole commands on files in which bytes were changed: each ends by itself, with an answer or with
// a sentence. TAPESCOPE_MUTATIONS says how many runs (60), TAPESCOPE_SEED from which seed on.
#include <nlohmann/json.hpp>

#include "tests/cli/program.h"
#include "tests/cli/square_or_bar.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;
using Bytes = std::vector<std::uint8_t>;

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// One to six changes: a bit, a byte, a number, a piece gone, twice, or the end cut off.
Bytes mutated(Bytes bytes, PhiloxStream& random) {
  const auto below = [&](std::size_t n) {
    return static_cast<std::ptrdiff_t>(random.below(static_cast<std::uint32_t>(n)));
  };
  const std::uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '-', '9', '\n', '<', '{'};
  const char* const numbers[] = {"0", "-1", "1e300", "4294967297", "99999999999999999999", "nan"};
  for (auto changes = 1 + random.below(6); changes > 0 && bytes.size() > 4; --changes) {
    const auto at = bytes.begin() + below(bytes.size() - 2);
    const auto end =
        at + 1 + below(std::min<std::size_t>(64, static_cast<std::size_t>(bytes.end() - at - 1)));
    switch (random.below(6)) {
      case 0:
        *at ^= static_cast<std::uint8_t>(1u << random.below(8));
        break;
      case 1:
        *at = telling[random.below(std::size(telling))];
        break;
      case 2:
        bytes.erase(at, end);
        break;
      case 3: {
        const Bytes piece(at, end);
        bytes.insert(at, piece.begin(), piece.end());
        break;
      }
      case 4: {  // the next number becomes another
        const auto digit = std::find_if(at, bytes.end(), [](int c) { return std::isdigit(c); });
        const auto behind =
            std::find_if(digit, bytes.end(), [](int c) { return !std::isdigit(c); });
        const std::string_view number = numbers[random.below(std::size(numbers))];
        const auto place = bytes.erase(digit, behind);
        bytes.insert(place, number.begin(), number.end());
        break;
      }
      default:
        if (random.below(4) == 0) bytes.erase(end, bytes.end());
    }
  }
  return bytes;
}

class MutatedInputs : public ::testing::Test {
 protected:
  struct Case {
    std::string name;
    Bytes valid;
    fs::path place;  // where the changed file goes
    Words command;
    bool input = false;  // the command reads it from its standard input
  };

  void SetUp() override {
    write_colours(folder_ / "colours", 16);
    ASSERT_EQ(tapescope_program({"train", "--data", at("colours"), "--model", "lenet", "--width",
                                 "0.25", "--image-size", "16", "--epochs", "1", "--batch-size", "8",
                                 "--out", at("classifier")})
                  .status,
              0);
    nlohmann::json images, annotations;
    for (int i = 0; i < 8; ++i) {
      const SquareOrBar shape("train", i);
      const std::string name = std::to_string(i);
      fs::create_directories(folder_ / "boxes/images");
      write_png(folder_ / "boxes/images" / (name + ".png"), shape.picture);
      images.push_back({{"id", i}, {"file_name", name + ".png"}, {"height", 48}, {"width", 64}});
      annotations.push_back({{"id", i},
                             {"image_id", i},
                             {"category_id", shape.bar ? 2 : 1},
                             {"bbox", {shape.x, shape.y, shape.w, shape.h}}});
      put(folder_ / "voc/Annotations" / (name + ".xml"),
          fmt::format("<annotation><filename>{}.png</filename><size><width>64</width><height>48"
                      "</height></size><object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}"
                      "</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object></annotation>",
                      name, shape.bar ? "bar" : "square", shape.x + 1, shape.y + 1,
                      shape.x + shape.w, shape.y + shape.h));
      put(folder_ / "yolo/labels/train" / (name + ".txt"),
          fmt::format("{} {} {} {} {}\n", shape.bar ? 0 : 1, (shape.x + shape.w / 2.0) / 64,
                      (shape.y + shape.h / 2.0) / 48, shape.w / 64.0, shape.h / 48.0));
      fs::create_directories(folder_ / "voc/JPEGImages");
      fs::create_directories(folder_ / "yolo/images/train");
      fs::copy_file(folder_ / "boxes/images" / (name + ".png"),
                    folder_ / "voc/JPEGImages" / (name + ".png"));
      fs::copy_file(folder_ / "boxes/images" / (name + ".png"),
                    folder_ / "yolo/images/train" / (name + ".png"));
    }
    put(folder_ / "boxes/annotations/train.json",
        nlohmann::json{
            {"images", images},
            {"annotations", annotations},
            {"categories", {{{"id", 1}, {"name", "square"}}, {{"id", 2}, {"name", "bar"}}}}}
            .dump());
    put(folder_ / "yolo/data.yaml", std::string("train: images/train\nnames: [bar, square]\n"));
    ASSERT_EQ(
        tapescope_program({"train", "--data", at("boxes"), "--model", "centre-detector", "--width",
                           "0.25", "--epochs", "1", "--batch-size", "8", "--out", at("detector")})
            .status,
        0);

    const fs::path run = folder_ / "classifier", found = folder_ / "detector";
    const std::string picture = at("colours/test/red/22.png"), boxed = at("boxes/images/0.png");
    const auto add = [&](const std::string& name, Bytes valid, const fs::path& place, Words words,
                         bool input = false) {
      cases_.push_back({name, std::move(valid), place, std::move(words), input});
    };
    for (const char* name : {"images/color.png", "images/palette.png", "images/baseline.jpg",
                             "images/progressive.jpg", "images/color.bmp", "images/color.ppm"}) {
      const fs::path place = folder_ / "mutated-picture";
      add(name, get(fixture(name)), place, {"predict", "--run", run, place});
      add(name, get(fixture(name)), place, {"detect", "--run", found, place});
    }
    const fs::path weights = folder_ / "mutated.safetensors";
    add("classifier", get(run / "checkpoints/best.safetensors"), weights,
        {"predict", "--run", run, "--checkpoint", weights, picture});
    add("detector", get(found / "checkpoints/best.safetensors"), weights,
        {"detect", "--run", found, "--checkpoint", weights, boxed});
    add("weights", get(run / "checkpoints/best.safetensors"), weights,
        {"inspect", "parameters", "--run", run, "--checkpoint", weights});
    add("coco", get(folder_ / "boxes/annotations/train.json"),
        folder_ / "boxes/annotations/train.json",
        {"eval", "--run", found, "--data", at("boxes"), "--split", "train"});
    add("voc", get(folder_ / "voc/Annotations/3.xml"), folder_ / "voc/Annotations/3.xml",
        {"eval", "--run", found, "--data", at("voc"), "--split", "train"});
    add("yolo", get(folder_ / "yolo/labels/train/3.txt"), folder_ / "yolo/labels/train/3.txt",
        {"eval", "--run", found, "--data", at("yolo"), "--split", "train"});
    add("history", get(run / "history.jsonl"), run / "history.jsonl",
        {"inspect", "training", "--run", run});
    add("test picture", get(picture), picture, {"eval", "--run", run, "--data", at("colours")});
    const Bytes frame = get(fixture("images/color.ppm"));
    Bytes frames = frame;
    frames.insert(frames.end(), frame.begin(), frame.end());
    add("frames", frames, folder_ / "mutated-frames", {"detect", "--run", found, "-"}, true);
  }

  std::string at(const std::string& name) const { return folder_ / name; }
  TemporaryFolder folder_;
  std::vector<Case> cases_;
};

TEST_F(MutatedInputs, EndWithAnAnswerOrASentence) {
  const std::uint64_t runs = number_of("TAPESCOPE_MUTATIONS", 60);
  const std::uint64_t first = number_of("TAPESCOPE_SEED", 1) * 1000003;
  Process::processor_seconds = 120;
  int statuses[3] = {};
  for (std::uint64_t i = 0; i < runs; ++i) {
    const Case& chosen = cases_[i % cases_.size()];
    PhiloxStream random(first + i);
    const Bytes bytes = mutated(chosen.valid, random);
    put(chosen.place, bytes);
    const Result result =
        tapescope_program(chosen.command, chosen.input ? chosen.place : fs::path());
    put(chosen.place, chosen.valid);  // the next case may read it too
    if (result.status < 0 || result.status > 2) {
      const fs::path kept = fs::temp_directory_path() / fmt::format("mutated-{}-{}", first, i);
      put(kept, bytes);
      ADD_FAILURE() << chosen.name << ", run " << i << ": status " << result.status
                    << " (above 128: a signal), on " << kept << "\n"
                    << result.err;
      continue;
    }
    ++statuses[result.status];
    EXPECT_TRUE(result.status == 0 || !result.err.empty()) << chosen.name << ", run " << i;
    EXPECT_EQ(result.err.find("terminate called"), std::string::npos) << result.err;
  }
  Process::processor_seconds = 0;
  fmt::print("{} runs: status 0 {} times, 1 {} times, 2 {} times\n", runs, statuses[0], statuses[1],
             statuses[2]);
}

}  // namespace
}  // namespace tapescope
