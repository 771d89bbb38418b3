-- The 20 products of at least 10 reviews that are most praised
SELECT
  clothing_id,
  count(*) AS reviews,
  round(avg(rating), 3) AS mean_rating,
  round(avg(sentiment), 3) AS mean_sentiment
FROM reviews
WHERE clothing_id IS NOT NULL
GROUP BY clothing_id
HAVING count(*) >= 10
ORDER BY mean_rating DESC, mean_sentiment DESC, reviews DESC, clothing_id
LIMIT 20
