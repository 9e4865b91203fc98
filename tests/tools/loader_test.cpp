#include "tools/data/loader.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "tests/tools/temporary_folder.h"

namespace tapescope {
namespace {

// Pictures made up on the spot; one of them may be broken or of another size.
class Numbers : public Dataset {
 public:
  explicit Numbers(int count) : count_(count), classes_{"even", "odd"} {}
  std::int64_t size() const override { return count_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override { return index % 2; }
  std::string name(std::int64_t index) const override { return fmt::format("number {}", index); }
  int channels() const override { return 1; }
  ImageView image(std::int64_t index) const override {
    if (index == broken) throw usage_error("{}: broken; mend it", name(index));
    auto made = std::make_shared<Image>(index == larger ? 9 : 8, 8, 1);
    std::iota(made->pixels.begin(), made->pixels.end(), static_cast<std::uint8_t>(index));
    ImageView view = view_of(*made);
    view.owner = std::move(made);
    return view;
  }
  std::int64_t broken = -1;
  std::int64_t larger = -1;

 private:
  int count_;
  std::vector<std::string> classes_;
};

Pipeline augmented() {
  return Pipeline(
      {RandomCrop{8, 8, 2}, RandomHorizontalFlip{}, ToTensor{}, Normalize{{0.5}, {0.25}}});
}

struct Seen {
  std::vector<std::int64_t> indices;
  std::vector<std::int64_t> labels;
  std::vector<float> image;
  std::vector<std::int64_t> sizes;
  bool operator==(const Seen&) const = default;
};

void add(Seen& seen, const Batch& batch) {
  seen.indices.insert(seen.indices.end(), batch.indices.begin(), batch.indices.end());
  const auto labels = batch["label"].values<std::int64_t>();
  seen.labels.insert(seen.labels.end(), labels.begin(), labels.end());
  const auto image = batch["image"].values<float>();
  seen.image.insert(seen.image.end(), image.begin(), image.end());
  seen.sizes.push_back(batch["image"].shape()[0]);
}

Seen epoch(Loader& loader, std::int64_t number, std::int64_t first = 0) {
  Seen seen;
  loader.start(number, first);
  for (Batch batch; loader.next(batch);) {
    EXPECT_EQ(batch.epoch, number);
    EXPECT_EQ(batch.number, first + static_cast<std::int64_t>(seen.sizes.size()));
    add(seen, batch);
  }
  return seen;
}

TEST(Loader, ThreadsChangeNothing) {
  const auto data = std::make_shared<Numbers>(53);
  Loader alone(data, augmented(), {.batch_size = 7, .shuffle = true, .seed = 5, .threads = 0});
  const Seen first = epoch(alone, 0);
  const Seen second = epoch(alone, 1);
  EXPECT_NE(first.indices, second.indices);
  EXPECT_EQ(first.sizes, (std::vector<std::int64_t>{7, 7, 7, 7, 7, 7, 7, 4}));
  for (int threads : {1, 2, 5}) {
    for (int prefetch : {1, 3, 100}) {
      for (bool across : {false, true}) {
        Loader loader(data, augmented(),
                      {.batch_size = 7,
                       .shuffle = true,
                       .seed = 5,
                       .threads = threads,
                       .prefetch = prefetch,
                       .across_epochs = across});
        EXPECT_EQ(epoch(loader, 0), first);
        EXPECT_EQ(epoch(loader, 1), second);
        EXPECT_EQ(epoch(loader, 0), first) << "again, after a jump back";
      }
    }
  }
}

TEST(Loader, EveryEpochIsAPermutation) {
  const auto data = std::make_shared<Numbers>(100);
  Loader loader(data, Pipeline(), {.batch_size = 9, .shuffle = true, .seed = 1});
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t number = 0; number < 5; ++number) {
    Seen seen = epoch(loader, number);
    EXPECT_EQ(seen.indices, loader.order(number));
    orders.insert(seen.indices);
    for (std::size_t i = 0; i < seen.indices.size(); ++i) {
      EXPECT_EQ(seen.labels[i], seen.indices[i] % 2);
      EXPECT_FLOAT_EQ(seen.image[i * 64], static_cast<float>(seen.indices[i]) / 255.0f);
    }
    std::sort(seen.indices.begin(), seen.indices.end());
    for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(seen.indices[i], static_cast<std::int64_t>(i));
  }
  EXPECT_EQ(orders.size(), 5u);
  Loader other(data, Pipeline(), {.batch_size = 9, .shuffle = true, .seed = 2});
  EXPECT_NE(other.order(0), loader.order(0));
  Loader plain(data, Pipeline(), {.batch_size = 9});
  const std::vector<std::int64_t> in_order = epoch(plain, 3).indices;
  EXPECT_TRUE(std::is_sorted(in_order.begin(), in_order.end()));
}

TEST(Loader, ResumesInTheMiddle) {
  const auto data = std::make_shared<Numbers>(40);
  const LoaderOptions options{.batch_size = 6, .shuffle = true, .seed = 8, .threads = 2};
  Loader first(data, augmented(), options);
  const Seen whole = epoch(first, 4);
  Loader second(data, augmented(), options);
  const Seen rest = epoch(second, 4, 3);
  EXPECT_EQ(rest.indices,
            std::vector<std::int64_t>(whole.indices.begin() + 18, whole.indices.end()));
  EXPECT_EQ(rest.image, std::vector<float>(whole.image.begin() + 18 * 64, whole.image.end()));
  EXPECT_TRUE(epoch(second, 4, 7).indices.empty());
}

TEST(Loader, TheSampleNotTheBatchDecidesItsAugmentation) {
  const auto data = std::make_shared<Numbers>(24);
  Loader small(data, augmented(), {.batch_size = 1, .seed = 3});
  Loader large(data, augmented(), {.batch_size = 24, .seed = 3});
  EXPECT_EQ(epoch(small, 2).image, epoch(large, 2).image);
}

TEST(Loader, DropLastLeavesOutTheIncompleteBatch) {
  const auto data = std::make_shared<Numbers>(20);
  Loader loader(data, Pipeline(), {.batch_size = 6, .drop_last = true});
  EXPECT_EQ(loader.batches(), 3);
  EXPECT_EQ(loader.samples(), 18);
  EXPECT_EQ(epoch(loader, 0).sizes, (std::vector<std::int64_t>{6, 6, 6}));
  EXPECT_NE(usage_message([&] { Loader(data, Pipeline(), {.batch_size = 21, .drop_last = true}); }),
            "");
}

TEST(Loader, ErrorsReachTheConsumerInTheirTurn) {
  for (int threads : {0, 1, 3}) {
    const auto data = std::make_shared<Numbers>(30);
    data->broken = 13;
    Loader loader(data, Pipeline(), {.batch_size = 5, .threads = threads});
    loader.start(0);
    Batch batch;
    EXPECT_TRUE(loader.next(batch));
    EXPECT_TRUE(loader.next(batch));
    EXPECT_EQ(usage_message([&] { loader.next(batch); }), "number 13: broken; mend it");
    EXPECT_FALSE(loader.next(batch));
    loader.start(0, 3);
    EXPECT_TRUE(loader.next(batch)) << "goes on where told to";
    EXPECT_EQ(batch.indices.front(), 15);
  }
}

TEST(Loader, PicturesOfTwoSizesAreAnErrorThatNamesOne) {
  const auto data = std::make_shared<Numbers>(10);
  data->larger = 6;
  Loader loader(data, Pipeline(), {.batch_size = 4});
  const std::string message = usage_message([&] { epoch(loader, 0); });
  EXPECT_NE(message.find("number 6"), std::string::npos) << message;
  EXPECT_NE(message.find("{9, 8, 1}"), std::string::npos) << message;
}

TEST(Loader, MayBeDestroyedAtAnyTime) {
  const auto data = std::make_shared<Numbers>(200);
  for (int round = 0; round < 60; ++round) {
    Loader loader(data, augmented(),
                  {.batch_size = 3, .shuffle = true, .threads = 4, .prefetch = 8});
    if (round % 6 == 0) continue;
    loader.start(round);
    Batch batch;
    for (int i = 0; i < round % 7; ++i) loader.next(batch);
    if (round % 4 == 0) loader.start(round + 1, 2);
  }
}

TEST(Loader, RefusesImpossibleOptions) {
  const auto data = std::make_shared<Numbers>(10);
  EXPECT_NE(usage_message([&] { Loader(data, Pipeline(), {.batch_size = 0}); }), "");
  EXPECT_NE(usage_message([&] { Loader(data, Pipeline(), {.threads = -1}); }), "");
  EXPECT_NE(usage_message([&] { Loader(std::make_shared<Numbers>(0), Pipeline(), {}); }), "");
  Loader loader(data, Pipeline(), {});
  Batch batch;
  EXPECT_NE(usage_message([&] { loader.next(batch); }), "");
  EXPECT_NE(usage_message([&] { loader.start(-1); }), "");
  EXPECT_NE(usage_message([&] { loader.start(0, 2); }), "");
}

}  // namespace
}  // namespace tapescope
