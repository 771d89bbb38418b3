-- Reviews, mean rating and mean sentiment of each category
SELECT
  product_category,
  count(*) AS reviews,
  avg(rating) AS mean_rating,
  avg(sentiment) AS mean_sentiment
FROM reviews
GROUP BY product_category
ORDER BY reviews DESC, product_category
