-- The 20 products of at least 10 reviews that are most praised
SELECT
  clothing_id,
  count(*) AS reviews,
  avg(rating) AS mean_rating,
  avg(sentiment) AS mean_sentiment
FROM reviews
WHERE clothing_id IS NOT NULL
GROUP BY clothing_id
HAVING count(*) >= 10
ORDER BY mean_rating DESC, mean_sentiment DESC, reviews DESC, clothing_id
LIMIT 20
